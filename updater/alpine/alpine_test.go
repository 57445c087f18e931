package alpine

import (
	"os"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

func TestParse(t *testing.T) {
	file, err := os.Open("testdata/main.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	feedtest.Golden(t, "testdata/main.golden", feedtest.Text(Parse(file, "alpine:3.20")))
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
		first := feedtest.Text(Parse(strings.NewReader(document), "alpine:3.20"))
		if second := feedtest.Text(Parse(strings.NewReader(document), "alpine:3.20")); first != second {
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
