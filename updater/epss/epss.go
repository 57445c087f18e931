// Package epss reads the scores of the Exploit Prediction Scoring System, https://www.first.org/epss/: how probable
// it is that a vulnerability is exploited within the next thirty days, as a model sees it on a given day. The scores
// say nothing about packages.
//
// # Format
//
// A CSV document, made anew each day (https://www.first.org/epss/data_stats): a comment that names model and day, a
// header, and a line for each vulnerability.
package epss

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Address is where the scores of the current day are published.
const Address = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"

// Day is the scores of one day.
type Day struct {
	Model string    // version of the model: "v2025.03.14"
	Date  time.Time // for which it computed the scores, UTC
	// Scores yields a score and nil; or a [*advisory.BadRecord] for a line that cannot be used, and goes on; or
	// any other error, and ends. It can be read once.
	Scores iter.Seq2[Score, error]
}

// Score is how probable the exploitation of one vulnerability is.
type Score struct {
	CVE         string
	Probability float32 // 0 to 1
	Percentile  float32 // share of all vulnerabilities that are no more probable, 0 to 1
}

// maxLineBytes bounds a line. Real ones have some thirty bytes.
const maxLineBytes = 4 << 10

// header is the line before the scores.
const header = "cve,epss,percentile"

// Parse reads what stands before the scores. The error is a fault of kind Corrupt for what is no such document, or of
// the kind that reading r failed with.
func Parse(r io.Reader) (Day, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	if !lines.Scan() {
		return Day{}, corrupt(errors.Join(lines.Err(), errors.New("the document is empty")))
	}
	day, err := parseComment(lines.Text())
	if err != nil {
		return Day{}, corrupt(err)
	}
	if !lines.Scan() || lines.Text() != header {
		return Day{}, corrupt(errors.Join(lines.Err(), fmt.Errorf("the second line is not %q", header)))
	}
	day.Scores = func(yield func(Score, error) bool) { scores(lines, yield) }
	return day, nil
}

func corrupt(err error) error {
	kind := fault.KindOf(err)
	if kind == fault.Unknown {
		kind = fault.Corrupt
	}
	return fault.New(kind, "parse", Address, err)
}

// parseComment reads "#model_version:v2025.03.14,score_date:2026-08-16T00:00:00+0000".
func parseComment(line string) (Day, error) {
	var out Day
	comment, ok := strings.CutPrefix(line, "#")
	for field := range strings.SplitSeq(comment, ",") {
		switch name, value, _ := strings.Cut(field, ":"); name {
		case "model_version":
			out.Model = value
		case "score_date":
			var err error
			if out.Date, err = parseDate(value); err != nil {
				return Day{}, err
			}
		}
	}
	if !ok || out.Model == "" || out.Date.IsZero() {
		return Day{}, fmt.Errorf("the first line %.80q does not name model and day", line)
	}
	return out, nil
}

// parseDate reads the day, which was written with and without colon in the zone.
func parseDate(s string) (time.Time, error) {
	t, err := time.Parse("2006-01-02T15:04:05-0700", s)
	if err != nil {
		t, err = time.Parse(time.RFC3339, s)
	}
	return t.UTC(), err
}

func scores(lines *bufio.Scanner, yield func(Score, error) bool) {
	n := 2
	for lines.Scan() {
		n++
		score, err := parseScore(lines.Text())
		if err != nil {
			err = &advisory.BadRecord{Subject: fmt.Sprintf("line %d", n), Reason: err.Error()}
		}
		if !yield(score, err) {
			return
		}
	}
	err := lines.Err()
	if err == nil && n == 2 {
		err = errors.New("the document has no scores")
	}
	if err != nil {
		yield(Score{}, corrupt(err))
	}
}

var cve = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)

func parseScore(line string) (Score, error) {
	id, rest, ok := strings.Cut(line, ",")
	first, second, both := strings.Cut(rest, ",")
	if !ok || !both || !cve.MatchString(id) {
		return Score{}, fmt.Errorf("%.80q is no identifier and two numbers", line)
	}
	probability, err := parseShare(first)
	percentile, err2 := parseShare(second)
	if err := errors.Join(err, err2); err != nil {
		return Score{}, fmt.Errorf("%s: %w", id, err)
	}
	return Score{strings.Clone(id), probability, percentile}, nil
}

func parseShare(s string) (float32, error) {
	f, err := strconv.ParseFloat(s, 32)
	if err == nil && !(f >= 0 && f <= 1) {
		err = fmt.Errorf("%s is not between 0 and 1", s)
	}
	return float32(f), err
}
