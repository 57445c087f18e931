package epss

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
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
	file, err := os.Open("testdata/epss.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	day, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC); day.Model != "v2026.01.01" || !day.Date.Equal(want) {
		t.Errorf("model %s of %s", day.Model, day.Date)
	}
	var got []Score
	var bad []string
	for score, err := range day.Scores {
		var b *advisory.BadRecord
		switch {
		case errors.As(err, &b):
			bad = append(bad, b.Error())
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, score)
		}
	}
	want := []Score{{"CVE-2026-90001", 0.9745, 0.9999}, {"CVE-2026-90002", 1e-5, 0}, {"CVE-2026-90006", 1, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scores differ (-want +got):\n%s", diff)
	}
	wantBad := []string{
		"line 5: CVE-2026-90003: 1.5 is not between 0 and 1",
		"line 6: CVE-2026-90004: NaN is not between 0 and 1",
		`line 7: "CVE-2026-90005,0.5" is no identifier and two numbers`,
		`line 8: "none,0.5,0.5" is no identifier and two numbers`,
	}
	if diff := cmp.Diff(wantBad, bad); diff != "" {
		t.Errorf("bad records differ (-want +got):\n%s", diff)
	}
}

func TestParseBroken(t *testing.T) {
	const head = "#model_version:v1,score_date:2026-01-02T00:00:00+00:00\n" + header + "\n"
	for name, document := range map[string]string{
		"empty":                 "",
		"an error page":         "<html>503</html>",
		"no comment":            header + "\nCVE-2026-90001,0.9,0.9\n",
		"no day":                "#model_version:v1\n" + header + "\n",
		"another day":           "#model_version:v1,score_date:today\n" + header + "\n",
		"another header":        "#model_version:v1,score_date:2026-01-02T00:00:00Z\ncve,percentile,epss\n",
		"nothing behind a head": head,
		"a line without end":    head + strings.Repeat("1", maxLineBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			day, err := Parse(strings.NewReader(document))
			if err == nil {
				for _, e := range day.Scores {
					err = e
				}
			}
			if fault.KindOf(err) != fault.Corrupt {
				t.Errorf("got %v, want a fault of kind corrupt", err)
			}
		})
	}
}

// TestRealScores counts the lines of the raw document.
func TestRealScores(t *testing.T) {
	inflated, err := gzip.NewReader(realdata.Open(t, "feeds/epss.empiricalsecurity.com/epss_scores-current.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(inflated)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	feedtest.Measure(t, "real scores", func() {
		day, err := Parse(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range day.Scores {
			if err != nil {
				t.Error(err)
			}
			n++
		}
	})
	if want := strings.Count(string(text), "\nCVE-"); n != want || n != 360_142 {
		t.Errorf("%d scores, the document has %d", n, want)
	}
}

func FuzzParse(f *testing.F) {
	seed, err := os.ReadFile("testdata/epss.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Fuzz(func(t *testing.T, document string) {
		day, err := Parse(strings.NewReader(document))
		if err != nil {
			if fault.KindOf(err) != fault.Corrupt {
				t.Errorf("got %v, want a fault of kind corrupt", err)
			}
			return
		}
		for score, err := range day.Scores {
			if err == nil && (score.Probability < 0 || score.Probability > 1 || score.Percentile < 0 || score.Percentile > 1) {
				t.Errorf("%+v", score)
			}
		}
	})
}
