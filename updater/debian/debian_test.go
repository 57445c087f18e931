package debian

import (
	"os"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

func TestParse(t *testing.T) {
	file, err := os.Open("testdata/tracker.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	feedtest.Golden(t, "testdata/tracker.golden", feedtest.Text(Parse(file)))
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
		first := feedtest.Text(Parse(strings.NewReader(document)))
		if second := feedtest.Text(Parse(strings.NewReader(document))); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}
