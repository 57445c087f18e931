package nvd

import (
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

func open(t testing.TB) *os.File {
	t.Helper()
	file, err := os.Open("testdata/nvd.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestParse(t *testing.T) {
	feedtest.Golden(t, "testdata/nvd.golden", feedtest.Text(Parse(open(t))))
}

// TestEntries looks at what records leave out.
func TestEntries(t *testing.T) {
	type extra struct {
		Rejected   bool
		Weaknesses []string
		References []Reference
		Exploited  *Exploited
	}
	got := make(map[string]extra)
	for e, err := range Entries(open(t)) {
		if err == nil {
			got[e.ID] = extra{e.Rejected, e.Weaknesses, e.Pages, e.Exploited}
		}
	}
	day := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	want := map[string]extra{
		"CVE-2026-90001": {
			Weaknesses: []string{"CWE-863"},
			References: []Reference{{"https://vendor.example/1", []string{"Patch", "Vendor Advisory"}}},
			Exploited:  &Exploited{Added: day(2), Due: day(23), Name: "Example Lock Opening Vulnerability", Action: "Close it."},
		},
		"CVE-2026-90002": {References: []Reference{}},
		"CVE-2026-90003": {Rejected: true},
		"CVE-2026-90004": {Exploited: &Exploited{Added: day(2)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}

func TestParseStops(t *testing.T) {
	for most := 1; most <= 8; most++ {
		n := 0
		for range Parse(open(t)) {
			if n++; n == most {
				break
			}
		}
		if n != most {
			t.Errorf("%d records after a break at %d", n, most)
		}
	}
}

func TestMeta(t *testing.T) {
	const document = `{"vulnerabilities": [], "totalResults": 0}`
	text := fmt.Sprintf("lastModifiedDate:2026-01-02T03:00:00-05:00\r\nsize:%d\r\nzipSize:1\r\ngzSize:1\r\nsha256:%X\r\n", len(document), sha256.Sum256([]byte(document)))
	meta, err := ParseMeta(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !meta.Modified.Equal(time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)) || meta.SizeBytes != int64(len(document)) {
		t.Errorf("read as %+v", meta)
	}
	for _, err := range Parse(Verify(strings.NewReader(document), meta)) {
		t.Errorf("the document itself: %v", err)
	}
	var last error
	for _, err := range Parse(Verify(strings.NewReader(document+" "), meta)) {
		last = err
	}
	if fault.KindOf(last) != fault.Corrupt || !strings.Contains(last.Error(), "digest") {
		t.Errorf("another document: %v", last)
	}
	for _, text := range []string{
		"", "<html>", "sha256:12\n", "sha256:xyz\n", strings.Repeat("a", maxMetaBytes+1),
		text + "size:large\n", strings.Replace(text, "2026", "soon", 1),
	} {
		if meta, err := ParseMeta(strings.NewReader(text)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%.40q: %+v, %v; want a fault of kind corrupt", text, meta, err)
		}
	}
	if got := MetaAddress(Year(2026)); got != "https://nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2026.meta" {
		t.Errorf("meta document at %s", got)
	}
}

// TestRealFeeds counts what the raw documents hold, and verifies them by their meta documents.
func TestRealFeeds(t *testing.T) {
	if testing.Short() {
		t.Skip("fifty megabytes, read twice: left out where tests are to be short")
	}
	var table strings.Builder
	for _, name := range []string{"2026", "modified", "recent"} {
		const folder = "nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-"
		meta, err := ParseMeta(realdata.Open(t, "feeds/"+folder+name+".meta"))
		if err != nil {
			t.Fatal(err)
		}
		inflate := func() io.Reader {
			r, err := gzip.NewReader(realdata.Open(t, "feeds/"+folder+name+".json.gz"))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		entries, rejected, exploited, scores, bad := 0, 0, 0, 0, 0
		severities := make(map[string]int)
		feedtest.Measure(t, name, func() {
			for e, err := range Entries(Verify(inflate(), meta)) {
				var b *advisory.BadRecord
				if errors.As(err, &b) {
					t.Log(b)
					bad++
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				entries++
				scores += len(e.CVSS)
				severities[e.Severity.String()]++
				if e.Rejected {
					rejected++
				}
				if e.Exploited != nil {
					exploited++
				}
			}
		})
		fmt.Fprintf(&table, "%s: %d records, %d rejected, %d exploited, %d scores, %d bad, %v\n", name, entries, rejected, exploited, scores, bad, severities)
		text, err := io.ReadAll(inflate())
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(text)) != meta.SizeBytes {
			t.Errorf("%s: %d bytes, its meta document says %d", name, len(text), meta.SizeBytes)
		}
		count := func(pattern string) int { return len(regexp.MustCompile(pattern).FindAll(text, -1)) }
		if n := count(`"id" : "CVE-`); n != entries {
			t.Errorf("%s: %d records, the document has %d", name, entries, n)
		}
		if n := count(`"vulnStatus" : "Rejected"`); n != rejected {
			t.Errorf("%s: %d rejected, the document has %d", name, rejected, n)
		}
		if n := count(`"cisaExploitAdd"`); n != exploited {
			t.Errorf("%s: %d exploited, the document has %d", name, exploited, n)
		}
	}
	feedtest.Golden(t, "testdata/real.golden", table.String())
}

func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("testdata/nvd.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Fuzz(func(t *testing.T, document string) {
		first := feedtest.Text(Parse(strings.NewReader(document)))
		if second := feedtest.Text(Parse(strings.NewReader(document))); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}
