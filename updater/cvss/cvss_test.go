package cvss

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/realdata"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		vector   string
		version  string
		score    float64
		severity advisory.Severity
	}{
		{"AV:N/AC:L/Au:N/C:C/I:C/A:C", "2.0", 10, advisory.High},
		{"(AV:N/AC:M/Au:N/C:N/I:P/A:N)", "2.0", 4.3, advisory.Medium},
		{"AV:L/AC:H/Au:M/C:N/I:N/A:N", "2.0", 0, advisory.Low},
		{"AV:N/AC:L/Au:N/C:N/I:N/A:C/E:F/RL:OF/RC:C/CDP:H/TD:H/CR:M/IR:M/AR:H", "2.0", 7.8, advisory.High},
		{"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "3.0", 9.8, advisory.Critical},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", "3.1", 10, advisory.Critical},
		{"CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H", "3.1", 5.5, advisory.Medium},
		{"CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H/E:P/RL:O/RC:C", "3.1", 5.5, advisory.Medium},
		{"CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", "3.1", 1.6, advisory.Low},
		{"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "3.1", 0, advisory.Negligible},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "4.0", 9.3, advisory.Critical},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U", "4.0", 9.3, advisory.Critical},
		{"CVSS:4.0/AV:N/AC:L/AT:N/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:X/CR:X/IR:X/AR:X", "4.0", 8.7, advisory.High},
	} {
		got, err := Parse("nvd", c.vector)
		if err != nil || got.Version != c.version || got.Score != c.score || got.Source != "nvd" {
			t.Errorf("%s: %+v, %v; want version %s, score %.1f", c.vector, got, err, c.version, c.score)
		}
		if s := Severity(got); s != c.severity {
			t.Errorf("%s: severity %s, want %s", c.vector, s, c.severity)
		}
	}
}

func TestParseRejects(t *testing.T) {
	for _, vector := range []string{
		"", "CVSS:3.1", "CVSS:3.1/", "CVSS:3.2/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "CVSS:3.1/AV:N", "AV:N", "none",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:Q", "CVSS:4.0/AV:N", strings.Repeat("AV:N/", 200),
	} {
		if got, err := Parse("nvd", vector); err == nil || got != (advisory.CVSS{}) {
			t.Errorf("%q: %+v, %v; want an error", vector, got, err)
		}
	}
}

func TestPreferred(t *testing.T) {
	scores := []advisory.CVSS{{Version: "2.0"}, {Version: "3.1", Source: "first"}, {Version: "3.1"}, {Version: "3.0"}}
	if got := Preferred(scores); got != scores[1] {
		t.Errorf("got %+v", got)
	}
	if got := Severity(Preferred(nil)); got != advisory.Unknown {
		t.Errorf("no score is %s", got)
	}
}

// TestPublishedScores computes all scores of a feed of NVD anew and finds those it publishes, but for vectors with
// a threat metric: some of those are published with it counted.
func TestPublishedScores(t *testing.T) {
	inflated, err := gzip.NewReader(realdata.Open(t, "feeds/nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-2026.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var feed struct {
		Vulnerabilities []struct {
			CVE struct {
				ID      string
				Metrics map[string][]struct {
					CVSSData struct {
						VectorString string
						BaseScore    float64
					}
				}
			}
		}
	}
	if err := json.NewDecoder(inflated).Decode(&feed); err != nil {
		t.Fatal(err)
	}
	n, threats := 0, 0
	for _, v := range feed.Vulnerabilities {
		for _, metrics := range v.CVE.Metrics {
			for _, m := range metrics {
				n++
				c, err := Parse("nvd", m.CVSSData.VectorString)
				if c.Version == "4.0" && !strings.Contains(c.Vector, "/E:X") && c.Score > m.CVSSData.BaseScore {
					threats++
					continue
				}
				if v.CVE.ID == "CVE-2026-22597" {
					continue // published with E:X, and the score of E:P
				}
				if err != nil || math.Abs(c.Score-m.CVSSData.BaseScore) > 0.001 {
					t.Errorf("%s: %s: computed %.1f, %v; published %.1f", v.CVE.ID, m.CVSSData.VectorString, c.Score, err, m.CVSSData.BaseScore)
				}
			}
		}
	}
	if n != 11_642 || threats != 455 {
		t.Errorf("%d scores, %d lowered by a threat metric", n, threats)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("AV:N/AC:L/Au:N/C:C/I:C/A:C")
	f.Add("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H")
	f.Add("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O/RC:C")
	f.Add("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U")
	f.Fuzz(func(t *testing.T, vector string) {
		c, err := Parse("fuzz", vector)
		if err != nil {
			return
		}
		if c.Score < 0 || c.Score > 10 || Severity(c) == advisory.Unknown {
			t.Errorf("%q: score %v, severity %s", vector, c.Score, Severity(c))
		}
		again, err := Parse("fuzz", c.Vector)
		if err != nil || again != c {
			t.Errorf("%q: read again as %+v, %v", vector, again, err)
		}
	})
}
