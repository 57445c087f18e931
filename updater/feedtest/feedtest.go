// Package feedtest provides what the tests of sources have in common: records as text, golden files, and figures.
package feedtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Text returns records as text: what each says of the advisory, and a line for each of its ranges.
func Text(records advisory.Records) string {
	var b strings.Builder
	for record, err := range records {
		var bad *advisory.BadRecord
		switch {
		case errors.As(err, &bad):
			fmt.Fprintf(&b, "bad %s\n", bad)
			continue
		case err != nil:
			fmt.Fprintf(&b, "broken (%s) %v\n", fault.KindOf(err), err)
			continue
		}
		fmt.Fprintf(&b, "%s %v %s", record.ID, record.Aliases, record.Severity)
		for _, s := range record.CVSS {
			fmt.Fprintf(&b, " %s:%s:%.1f", s.Source, s.Version, s.Score)
		}
		fmt.Fprintf(&b, " %s to %s\n", record.Published.Format("2006-01-02"), record.Modified.Format("2006-01-02"))
		fmt.Fprintf(&b, "    %s\n    %q\n", record.Link, record.Description)
		for _, a := range record.Affected {
			fmt.Fprintf(&b, "        %s %s %s [%s, %s) %s %s", a.Namespace, a.Scheme, a.Name, a.Introduced, a.Fixed, a.Status, a.Severity)
			if a.Urgency != "" {
				fmt.Fprintf(&b, " %q", a.Urgency)
			}
			if a.Problem != "" {
				fmt.Fprintf(&b, " problem %q", a.Problem)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// Golden holds a text against a golden file.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("not as in %s (-want +got):\n%s", name, diff)
	}
}
