package secdb

import (
	"os"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

var example = Database{Namespace: "example", Link: func(id string) string { return "https://example.dev/" + id }}

func open(t testing.TB) *os.File {
	t.Helper()
	file, err := os.Open("testdata/security.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestParse(t *testing.T) {
	feedtest.Golden(t, "testdata/security.golden", feedtest.Text(Parse(open(t), example)))
}

func TestParseBroken(t *testing.T) {
	for _, document := range []string{
		``, `[]`, `{}`, `{"packages": 7}`, `{"packages": []} {}`, `<html>503</html>`,
		`{"packages": [{"pkg": {"name": "zl`, `{"packages": [{"pkg": {"name": "zlib"}}`,
	} {
		var last error
		for _, err := range Parse(strings.NewReader(document), example) {
			last = err
		}
		if fault.KindOf(last) != fault.Corrupt {
			t.Errorf("%s: got %v, want a fault of kind corrupt", document, last)
		}
	}
}

// TestParseStops stops at each record in turn.
func TestParseStops(t *testing.T) {
	total := 0
	for range Parse(open(t), example) {
		total++
	}
	for most := 1; most <= total; most++ {
		n := 0
		for range Parse(open(t), example) {
			if n++; n == most {
				break
			}
		}
		if n != most {
			t.Errorf("%d records after a break at %d", n, most)
		}
	}
}

func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("testdata/security.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Fuzz(func(t *testing.T, document string) {
		first := feedtest.Text(Parse(strings.NewReader(document), example))
		if second := feedtest.Text(Parse(strings.NewReader(document), example)); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}
