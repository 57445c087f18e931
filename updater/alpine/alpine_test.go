package alpine

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
			fmt.Fprintf(&b, "%s %q\n", record.ID, record.Aliases)
		}
		for _, a := range record.Affected {
			fmt.Fprintf(&b, "    %-12s %s < %q %s %s %q %s\n", a.Namespace, a.Name, a.Fixed, a.Status, a.Severity, a.Urgency, a.Problem)
		}
	}
	return b.String()
}

func TestParse(t *testing.T) {
	file, err := os.Open("testdata/main.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := render(Parse(file, "alpine:3.20"))
	const golden = "testdata/main.golden"
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
		"empty":            ``,
		"cut in a package": `{"packages": [{"pkg": {"name": "zl`,
		"cut behind one":   `{"packages": [{"pkg": {"name": "zlib"}}`,
		"an array":         `[]`,
		"more behind":      `{"packages": []} {}`,
		"an error page":    `<html>503</html>`,
		"no packages":      `{"reponame": "main"}`,
		"packages no list": `{"packages": 7}`,
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range Parse(strings.NewReader(document), "alpine:3.20") {
				last = err
			}
			if fault.KindOf(last) != fault.Corrupt {
				t.Errorf("got %v, want a fault of kind corrupt", last)
			}
		})
	}
}

func TestParseStops(t *testing.T) {
	file, err := os.Open("testdata/main.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n := 0
	for range Parse(file, "alpine:3.20") {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d records after a break at 2", n)
	}
}

func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("testdata/main.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Add(`{"packages":[{"pkg":{"name":"a","secfixes":{"0":["CVE-2020-1234"]}}}]}`)
	f.Fuzz(func(t *testing.T, document string) {
		first := render(Parse(strings.NewReader(document), "alpine:3.20"))
		if second := render(Parse(strings.NewReader(document), "alpine:3.20")); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}

func TestReleases(t *testing.T) {
	releases, err := Releases(func(folder string) (bool, error) { return folder == "v3.23" || folder == "v3.24", nil })
	if err != nil {
		t.Fatal(err)
	}
	first, last := releases[0], releases[len(releases)-1]
	if first != (Release{"v3.2", "alpine:3.2"}) || last != (Release{"edge", "alpine:edge"}) {
		t.Errorf("from %v to %v", first, last)
	}
	if newest := releases[len(releases)-2]; newest != (Release{"v3.24", "alpine:3.24"}) {
		t.Errorf("the newest that exists is v3.24, got %v", newest)
	}
	if url := first.URL("main"); url != "https://secdb.alpinelinux.org/v3.2/main.json" {
		t.Errorf("address %s", url)
	}
}
