package store

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// describer is the source that describes vulnerabilities and judges no package: the National Vulnerability Database.
const describer = "nvd"

// described is what the describer says of one vulnerability.
type described struct {
	severity   advisory.Severity
	title      string
	cvss       []advisory.CVSS
	weaknesses []string
}

// enrich adds to the findings what is known of their vulnerabilities beside packages. It replaces no word of the vendor:
// where that says nothing of severity or what it is about, the describer speaks.
func (r *reporting) enrich(ctx context.Context, tx pgx.Tx) error {
	var ids []string
	for _, f := range r.report.Findings {
		ids = append(ids, vulnerabilities(f)...)
	}
	if len(ids) == 0 {
		return nil
	}
	ids = distinct(ids)
	facts := make(map[string]described)
	exploited := make(map[string]advisory.Exploitation)
	batch := &pgx.Batch{}
	batch.Queue(`
		SELECT v.name, v.severity, v.description, v.cvss, v.weaknesses
		FROM advisory v JOIN source s ON s.id = v.source_id WHERE s.name = $1 AND v.name = ANY($2)`, describer, ids).Query(
		func(rows pgx.Rows) error {
			var id, description string
			var d described
			_, err := pgx.ForEachRow(rows, []any{&id, &d.severity, &description, &d.cvss, &d.weaknesses}, func() error {
				d.title = firstLine(description)
				facts[id] = d
				d.cvss, d.weaknesses = nil, nil // scanned anew, not over what was kept
				return nil
			})
			return err
		})
	batch.Queue(`SELECT cve, kev, epss, percentile FROM exploitation WHERE cve = ANY($1)`, ids).Query(
		func(rows pgx.Rows) error {
			var e advisory.Exploitation
			var probability, percentile *float32
			_, err := pgx.ForEachRow(rows, []any{&e.CVE, &e.Known, &probability, &percentile}, func() error {
				if probability != nil && percentile != nil {
					e.Score = &advisory.EPSS{Probability: *probability, Percentile: *percentile}
				}
				exploited[e.CVE] = e
				e.Known, e.Score = nil, nil
				return nil
			})
			return err
		})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	for i := range r.report.Findings {
		f := &r.report.Findings[i]
		for _, id := range vulnerabilities(*f) {
			facts[id].addTo(f)
			addExploitation(f, exploited[id])
		}
	}
	return nil
}

// vulnerabilities returns the CVE identifiers of a finding: an advisory may be about several.
func vulnerabilities(f report.Finding) []string {
	var out []string
	for _, id := range append([]string{f.ID}, f.Aliases...) {
		if strings.HasPrefix(id, "CVE-") && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// addTo adds what is said of one vulnerability. Of several, the worst severity counts.
func (d described) addTo(f *report.Finding) {
	if (f.SeverityBy == "" || f.SeverityBy == describer) && d.severity > f.Severity {
		f.Severity, f.SeverityBy = d.severity, describer
	}
	if f.Title == "" {
		f.Title = d.title
	}
	for _, score := range d.cvss {
		if !slices.Contains(f.CVSS, score) {
			f.CVSS = append(f.CVSS, score)
		}
	}
	for _, weakness := range d.weaknesses {
		if !slices.Contains(f.CWE, weakness) {
			f.CWE = append(f.CWE, weakness)
		}
	}
}

// addExploitation adds what is known of the exploitation of one vulnerability. Of several, the most probable counts, and the
// one that has been known longest.
func addExploitation(f *report.Finding, e advisory.Exploitation) {
	if e.Score != nil && (f.EPSS == nil || e.Score.Probability > f.EPSS.Probability) {
		f.EPSS = e.Score
	}
	if e.Known != nil && (f.KEV == nil || e.Known.Added.Before(f.KEV.Added)) {
		f.KEV = e.Known
	}
}
