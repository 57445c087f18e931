package oval

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

func TestTime(t *testing.T) {
	day := time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-01-02":                 day,
		"20240102":                   day,
		"20240102:1504":              day.Add(15*time.Hour + 4*time.Minute),
		"2024-01-02 15:04":           day.Add(15*time.Hour + 4*time.Minute),
		"2024-01-02 15:04:05":        day.Add(15*time.Hour + 4*time.Minute + 5*time.Second),
		"2024-01-02 15:04:05 UTC":    day.Add(15*time.Hour + 4*time.Minute + 5*time.Second),
		"2024-01-02T15:04:05Z":       day.Add(15*time.Hour + 4*time.Minute + 5*time.Second),
		"2024-01-02T15:04:05+02:00":  day.Add(13*time.Hour + 4*time.Minute + 5*time.Second),
		"2024-01-02 15:04:05.123456": day.Add(15*time.Hour + 4*time.Minute + 5*time.Second + 123456*time.Microsecond),
	} {
		if got, err := Time(text); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "2024-13-01", "02.01.2024"} {
		if got, err := Time(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestRecord(t *testing.T) {
	d := Definition{
		Title:      "a title",
		References: []Reference{{Source: "RHSA", ID: "RHSA-1"}, {Source: "cve", ID: "CVE:00001:CVE-2024-90001"}, {Source: "CVE", ID: "Mitre CVE-2024-90002"}},
		CVEs: []CVE{
			{Text: "CVE-2024-90001", CVSS2: "6.8/AV:N/AC:M/Au:N/C:P/I:P/A:P", CVSS3: "7.5/CVSS:3.1/AV:N"},
			{Text: "CVE-2024-90001 at NVD", CVSS4: "8.5/CVSS:4.0/AV:L"},
			{Text: "CVE-2024-90003", Score: "5.0", Vector: "CVSS:3.0/AV:L"},
			{Text: "CVE-2024-90003", CVSS3: "0/CVSS:3.0/AV:N/AC:N"},
		},
		Public: "2024-01-02",
	}
	got, err := d.Record("vendor")
	if err != nil {
		t.Fatal(err)
	}
	want := advisory.Record{
		Description: "a title",
		Aliases:     []string{"CVE-2024-90001", "CVE-2024-90002", "CVE-2024-90003"},
		CVSS: []advisory.CVSS{
			{Source: "vendor", Version: "2.0", Vector: "AV:N/AC:M/Au:N/C:P/I:P/A:P", Score: 6.8},
			{Source: "vendor", Version: "3.1", Vector: "CVSS:3.1/AV:N", Score: 7.5},
			{Source: "nvd", Version: "4.0", Vector: "CVSS:4.0/AV:L", Score: 8.5},
			{Source: "vendor", Version: "3.0", Vector: "CVSS:3.0/AV:L", Score: 5},
		},
		Published: time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, score := range []string{"high", "7.5", "11/CVSS:3.1/AV:N", "-1/CVSS:3.1/AV:N"} {
		d := Definition{CVEs: []CVE{{Text: "CVE-2024-90001", CVSS3: score}}}
		if r, err := d.Record("vendor"); err == nil || len(r.CVSS) > 0 {
			t.Errorf("%s: %v, want an error", score, r.CVSS)
		}
	}
}
