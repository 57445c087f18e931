package oval

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// Record returns what the definition's metadata say, without id, link, severity and ranges: the description, the
// vulnerabilities as aliases, their scores, given by scorer unless they say so themselves, and the dates. The error
// says what of these could not be read; the rest is there.
func (d *Definition) Record(scorer string) (advisory.Record, error) {
	record := advisory.Record{Description: d.Description}
	if record.Description == "" {
		record.Description = d.Title
	}
	var aliases distinct[string]
	var scored distinct[advisory.CVSS]
	var failed []string
	fail := func(err error) {
		if err != nil {
			failed = append(failed, err.Error())
		}
	}
	for _, r := range d.References {
		if id := cveID.FindString(r.ID); strings.EqualFold(r.Source, "CVE") && id != "" {
			aliases.add(id)
		}
	}
	for _, c := range d.CVEs {
		if id := cveID.FindString(c.Text); id != "" {
			aliases.add(id)
		}
		scores, err := c.scores(scorer)
		fail(err)
		scored.add(scores...)
	}
	record.Aliases, record.CVSS = aliases.items, scored.items
	var err error
	dates := []string{d.Issued, d.Public}
	if len(d.CVEs) == 1 {
		dates = append(dates, d.CVEs[0].Public)
	}
	for _, text := range dates {
		if record.Published.IsZero() && text != "" {
			record.Published, err = Time(text)
			fail(err)
		}
	}
	if d.Updated != "" {
		record.Modified, err = Time(d.Updated)
		fail(err)
	}
	if len(failed) > 0 {
		return record, errors.New(Few(failed))
	}
	return record, nil
}

// Reference returns the first reference of a source, named in any case.
func (d *Definition) Reference(source string) (Reference, bool) {
	i := slices.IndexFunc(d.References, func(r Reference) bool { return strings.EqualFold(r.Source, source) })
	if i < 0 {
		return Reference{}, false
	}
	return d.References[i], true
}

// cveID is the identifier of a vulnerability, whatever stands around it.
var cveID = regexp.MustCompile(`\bCVE-\d{4}-\d{4,}\b`)

// CVEIDs returns the identifiers CVE-…-… in a text, each once.
func CVEIDs(text string) []string {
	var out distinct[string]
	out.add(cveID.FindAllString(text, -1)...)
	return out.items
}

// scores returns the scores of a vulnerability.
func (c *CVE) scores(scorer string) ([]advisory.CVSS, error) {
	if _, who, ok := strings.Cut(c.Text, " at "); ok {
		scorer = strings.ToLower(who)
	}
	both := []string{c.CVSS2, c.CVSS3, c.CVSS4}
	if c.Vector != "" {
		both = append(both, c.Score+"/"+c.Vector)
	}
	var out []advisory.CVSS
	for _, text := range both {
		if text == "" {
			continue
		}
		points, vector, ok := strings.Cut(text, "/")
		score, err := strconv.ParseFloat(points, 64)
		if !ok || err != nil || score < 0 || score > 10 {
			return out, fmt.Errorf("%.50s: score %.100q: %w", c.Text, text, errScore)
		}
		if score == 0 { // stands for one that is not told: Oracle's has a vector that is none
			continue
		}
		out = append(out, advisory.CVSS{Source: scorer, Version: scoreVersion(vector), Vector: vector, Score: score})
	}
	return out, nil
}

// scoreVersion returns the version of CVSS that a vector is written in. Version 2 did not say.
func scoreVersion(vector string) string {
	v, _, _ := strings.Cut(vector, "/")
	if v, ok := strings.CutPrefix(v, "CVSS:"); ok {
		return v
	}
	return "2.0"
}

// errScore says that a score is not written as scores are.
var errScore = errors.New("want SCORE/VECTOR")

// times are the forms of dates in OVAL and updateinfo.
var times = []string{
	"2006-01-02", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05.999999", time.RFC3339,
	"2006-01-02T15:04:05", "2006-01-02T15:04Z", "20060102", "20060102:1504",
}

// Time reads a date as vendors write them; without a zone it is UTC.
func Time(text string) (time.Time, error) {
	for _, form := range times {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("date %.50q is not written as any known", text)
}
