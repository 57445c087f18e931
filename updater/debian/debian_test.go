package debian

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

// render writes records as one line for each range.
func render(records advisory.Records) string {
	var b strings.Builder
	for record, err := range records {
		var bad *advisory.BadRecord
		switch {
		case errors.As(err, &bad):
			fmt.Fprintf(&b, "bad %s\n", bad)
		case err != nil:
			fmt.Fprintf(&b, "broken (%s) %v\n", fault.KindOf(err), err)
		default:
			fmt.Fprintf(&b, "%s %.30q\n", record.ID, record.Description)
		}
		for _, a := range record.Affected {
			fmt.Fprintf(&b, "    %-12s %s < %q %s %s %q %s\n", a.Namespace, a.Name, a.Fixed, a.Status, a.Severity, a.Urgency, a.Problem)
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	file, err := os.Open("testdata/tracker.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := render(Parse(file))
	const golden = "testdata/tracker.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("records differ from %s (-want +got):\n%s", golden, diff)
	}
}

func TestParseBroken(t *testing.T) {
	for name, document := range map[string]string{
		"empty":           ``,
		"cut in a name":   `{"zlib": {"CVE-20`,
		"cut in a value":  `{"zlib": {"CVE-2018-25032": {"releases": {`,
		"cut behind one":  `{"zlib": {}`,
		"an array":        `[]`,
		"more behind":     `{} {}`,
		"an error page":   `<html>503</html>`,
		"package no list": `{"zlib": 7}`,
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range Parse(strings.NewReader(document)) {
				last = err
			}
			if fault.KindOf(last) != fault.Corrupt {
				t.Errorf("got %v, want a fault of kind corrupt", last)
			}
		})
	}
}

func TestParseStops(t *testing.T) {
	file, err := os.Open("testdata/tracker.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n := 0
	for range Parse(file) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d records after a break at 2", n)
	}
}

func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("testdata/tracker.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Add(`{"a":{"b":{"releases":{"sid":{"status":"open"}}}}}`)
	f.Fuzz(func(t *testing.T, document string) {
		first := render(Parse(strings.NewReader(document)))
		if second := render(Parse(strings.NewReader(document))); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}
