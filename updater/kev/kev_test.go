package kev

import (
	"compress/gzip"
	"errors"
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

func TestParse(t *testing.T) {
	file, err := os.Open("testdata/kev.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got []Entry
	var bad []string
	for entry, err := range Parse(file) {
		var b *advisory.BadRecord
		switch {
		case errors.As(err, &b):
			bad = append(bad, b.Error())
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, entry)
		}
	}
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	want := []Entry{
		{CVE: "CVE-2026-90001", Name: "Example Lock Opening Vulnerability", Added: day(2026, 1, 2), Due: day(2026, 1, 23), Ransomware: true, Action: "Close it."},
		{CVE: "CVE-2025-90002", Name: "Example Snake Bite", Added: day(2025, 12, 31), Action: "Mind it."},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
	wantBad := []string{
		"CVE-2025-90003: ransomware campaign use \"Perhaps\" is not known\n" +
			"parsing time \"yesterday\" as \"2006-01-02\": cannot parse \"yesterday\" as \"2006\"\n" +
			"parsing time \"soon\" as \"2006-01-02\": cannot parse \"soon\" as \"2006\"",
		"none: not the identifier of a vulnerability",
		"item 4: json: cannot unmarshal string into Go value of type kev.item",
	}
	if diff := cmp.Diff(wantBad, bad); diff != "" {
		t.Errorf("bad records differ (-want +got):\n%s", diff)
	}
}

func TestParseStops(t *testing.T) {
	n := 0
	for range Parse(strings.NewReader(`{"count": 2, "vulnerabilities": [{}, {}]}`)) {
		if n++; n == 1 {
			break
		}
	}
	if n != 1 {
		t.Errorf("%d entries after a break at 1", n)
	}
}

// TestRealCatalog counts what the raw document names.
func TestRealCatalog(t *testing.T) {
	inflated, err := gzip.NewReader(realdata.Open(t, "feeds/www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(inflated)
	if err != nil {
		t.Fatal(err)
	}
	entries, ransomware, newest := 0, 0, time.Time{}
	feedtest.Measure(t, "real catalog", func() {
		for entry, err := range Parse(strings.NewReader(string(text))) {
			if err != nil {
				t.Error(err)
			}
			entries++
			if entry.Ransomware {
				ransomware++
			}
			if entry.Added.After(newest) {
				newest = entry.Added
			}
		}
	})
	if want := len(regexp.MustCompile(`"cveID"`).FindAll(text, -1)); entries != want || entries != 1662 {
		t.Errorf("%d entries, the document names %d", entries, want)
	}
	if want := len(regexp.MustCompile(`"knownRansomwareCampaignUse": "Known"`).FindAll(text, -1)); ransomware != want {
		t.Errorf("%d used in ransomware campaigns, the document names %d", ransomware, want)
	}
	if !newest.Equal(time.Date(2026, 8, 7, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the newest is of %s", newest)
	}
}

func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("testdata/kev.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Fuzz(func(t *testing.T, document string) {
		for entry, err := range Parse(strings.NewReader(document)) {
			var bad *advisory.BadRecord
			if err == nil && entry.CVE == "" {
				t.Errorf("an entry about nothing: %+v", entry)
			}
			if err != nil && !errors.As(err, &bad) && fault.KindOf(err) != fault.Corrupt {
				t.Errorf("got %v, want a fault of kind corrupt", err)
			}
		}
	})
}
