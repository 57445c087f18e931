package osv

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/cvss"
)

// document is one advisory as OSV has it.
type document struct {
	ID        string     `json:"id"`
	Published string     `json:"published"`
	Modified  string     `json:"modified"`
	Withdrawn string     `json:"withdrawn"`
	Aliases   []string   `json:"aliases"`
	Related   []string   `json:"related"`
	Upstream  []string   `json:"upstream"` // what it carries into a distribution
	Summary   string     `json:"summary"`
	Details   string     `json:"details"`
	Severity  []score    `json:"severity"`
	Affected  []affected `json:"affected"`
	Specific  struct {
		Severity any `json:"severity"`
	} `json:"database_specific"`
}

type score struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity []score   `json:"severity"`
	Ranges   []evented `json:"ranges"`
	Versions []string  `json:"versions"`
}

type evented struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

// event is one of these.
type event struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
	Limit        string `json:"limit"`
}

// reading is a document on its way to a record.
type reading struct {
	*document
	ecosystem
	bad []advisory.BadRecord
}

func (r *reading) note(part, reason string) {
	r.bad = append(r.bad, advisory.BadRecord{Subject: r.ID + "/" + part, Reason: reason})
}

// emit yields the record of the document and what is wrong with it. It reports whether the consumer wants more.
func (d *document) emit(e ecosystem, yield func(advisory.Record, error) bool) bool {
	if d.ID == "" {
		return yield(advisory.Record{}, &advisory.BadRecord{Subject: "a document", Reason: "it has no identifier"})
	}
	r := &reading{document: d, ecosystem: e}
	if r.distro != "" && !r.aboutVulnerabilities() {
		return true
	}
	record := r.record()
	for _, b := range r.bad {
		if !yield(advisory.Record{}, &b) {
			return false
		}
	}
	return yield(record, nil)
}

func (r *reading) record() advisory.Record {
	out := advisory.Record{
		ID: r.ID, Aliases: r.aliases(), Description: describe(r.Summary, r.Details),
		Link: "https://osv.dev/vulnerability/" + r.ID, CVSS: r.scores(r.Severity),
		Published: r.date(r.Published), Modified: r.date(r.Modified),
	}
	out.Severity = cvss.Severity(cvss.Preferred(out.CVSS))
	if out.Severity == advisory.Unknown {
		out.Severity = r.rated()
	}
	if r.Withdrawn != "" {
		return out
	}
	for i := range r.Affected {
		out.Affected = append(out.Affected, r.ranges(&r.Affected[i])...)
	}
	if r.distro != "" {
		out.Affected = highest(out.Affected)
	}
	return out
}

// aliases returns the other names. What a distribution's advisory is about stands in it as upstream or, before that
// was in the schema, as related.
func (r *reading) aliases() []string {
	out := slices.Clone(r.Aliases)
	if r.distro != "" {
		for _, name := range slices.Concat(r.Upstream, r.Related) {
			if strings.HasPrefix(name, "CVE-") && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// maxDescriptionBytes is where the description of an advisory without summary is cut off.
const maxDescriptionBytes = 1000

// describe returns the summary, or else the first paragraph of the details, which are Markdown of any length.
func describe(summary, details string) string {
	if summary != "" {
		return summary
	}
	first, _, _ := strings.Cut(strings.TrimSpace(details), "\n\n")
	if len(first) <= maxDescriptionBytes {
		return first
	}
	first = first[:maxDescriptionBytes]
	for len(first) > 0 && !utf8.ValidString(first[max(0, len(first)-utf8.UTFMax):]) {
		first = first[:len(first)-1]
	}
	return first + "…"
}

// scores returns the CVSS scores. The source is whose advisory it is, as the identifier tells: "ghsa", "pysec".
func (r *reading) scores(severities []score) []advisory.CVSS {
	source, _, _ := strings.Cut(strings.ToLower(r.ID), "-")
	var out []advisory.CVSS
	for _, s := range severities {
		if !strings.HasPrefix(s.Type, "CVSS_") {
			continue
		}
		c, err := cvss.Parse(source, s.Score)
		if err != nil {
			r.note("score", err.Error())
		} else if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// ratings maps the words that databases use where they have no CVSS score: GitHub's, and those of Red Hat, whose
// advisories AlmaLinux follows.
var ratings = map[string]advisory.Severity{
	"low":       advisory.Low,
	"moderate":  advisory.Medium,
	"medium":    advisory.Medium,
	"important": advisory.High,
	"high":      advisory.High,
	"critical":  advisory.Critical,
}

// rated returns the severity that stands in words in the document: in what is specific to its database, or, in those
// of AlmaLinux, in front of the summary: "Important: firefox security update".
func (r *reading) rated() advisory.Severity {
	word, _ := r.Specific.Severity.(string)
	if before, _, ok := strings.Cut(r.Summary, ": "); ok && word == "" && r.distro != "" {
		word = before
	}
	return ratings[strings.ToLower(word)]
}

// date reads a time that nothing depends on; some documents have the year 1 for one that is not told.
func (r *reading) date(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
