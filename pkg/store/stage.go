package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// stage copies the records into a temporary table, a row for each range. What describes the advisory
// stands in the first row of a record only.
func (d *deltaTx) stage(ctx context.Context) error {
	_, err := d.tx.Exec(ctx, `
		CREATE TEMPORARY TABLE stage (
			record integer, advisory text, aliases text[], advisory_severity smallint, description text, link text,
			cvss text, published timestamptz, modified timestamptz,
			namespace text, scheme text, name text, introduced text, fixed text, introduced_key bytea, fixed_key bytea,
			status smallint, severity smallint, urgency text, problem text, kept boolean, namespace_id smallint
		) ON COMMIT DROP`)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(d.content.Records)
	defer stop()
	d.reading = reading{next: next}
	_, err = d.tx.CopyFrom(ctx, pgx.Identifier{"stage"}, []string{
		"record", "advisory", "aliases", "advisory_severity", "description", "link", "cvss", "published", "modified",
		"namespace", "scheme", "name", "introduced", "fixed", "introduced_key", "fixed_key",
		"status", "severity", "urgency", "problem", "kept",
	}, &d.reading)
	d.delta.Records, d.delta.Bad, d.delta.BadNamed = d.reading.records, d.reading.bad, d.reading.named
	if d.reading.err != nil {
		return d.reading.err // Postgres only knows that the copy was broken off
	}
	if err == nil {
		_, err = d.tx.Exec(ctx, `ANALYZE stage`)
	}
	return err
}

// reading turns records into rows to copy. It implements [pgx.CopyFromSource].
type reading struct {
	next    func() (advisory.Record, error, bool)
	record  advisory.Record
	at      int                 // index into record.Affected
	kept    *advisory.BadRecord // instead of record: what was said about it stays
	number  int32
	records int
	bad     int
	named   []advisory.BadRecord
	err     error
}

// Next advances to the next row.
func (r *reading) Next() bool {
	if r.kept == nil && r.number > 0 && r.at+1 < len(r.record.Affected) {
		r.at++
		return true
	}
	r.kept = nil
	for {
		record, err, ok := r.next()
		if !ok {
			return false
		}
		if err == nil {
			err = storable(record)
		}
		var bad *advisory.BadRecord
		switch {
		case errors.As(err, &bad):
			r.bad++
			if len(r.named) < badNamed {
				r.named = append(r.named, *bad)
			}
			if bad.ID == "" && bad.Name == "" {
				continue
			}
			r.kept = bad
			r.record = advisory.Record{}
			return true
		case err != nil:
			r.err = err
			return false
		}
		r.record, r.at = record, 0
		r.number++
		r.records++
		return true
	}
}

// maxNameBytes bounds what stands in an index, of whose rows Postgres takes no more than 2704 bytes. Real
// names and versions stay below 200.
const maxNameBytes = 800

// storable returns an [*advisory.BadRecord] for a record that no index would take.
func storable(record advisory.Record) error {
	texts := []string{record.ID}
	for _, a := range record.Affected {
		texts = append(texts, a.Namespace, a.Name, a.Introduced, a.Fixed)
	}
	for _, text := range texts {
		if len(text) > maxNameBytes {
			return &advisory.BadRecord{
				Subject: cut(record.ID), Reason: fmt.Sprintf("%q is longer than %d bytes", cut(text), maxNameBytes), ID: record.ID,
			}
		}
	}
	return nil
}

// cut returns the beginning of a text that is too long to be shown.
func cut(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// Values returns the row.
func (r *reading) Values() ([]any, error) {
	row := make([]any, 21)
	if r.kept != nil {
		row[20] = true
		if r.kept.ID != "" {
			row[1] = clean(r.kept.ID)
		}
		if r.kept.Name != "" {
			row[11] = clean(r.kept.Name)
		}
		return row, nil
	}
	row[0], row[1] = r.number, clean(r.record.ID)
	if r.at == 0 {
		if err := r.describe(row[2:9]); err != nil {
			return nil, err
		}
	}
	if len(r.record.Affected) == 0 {
		return row, nil
	}
	a := r.record.Affected[r.at]
	row[9], row[10], row[11] = clean(a.Namespace), string(a.Scheme), clean(a.Name)
	row[12], row[13] = clean(a.Introduced), clean(a.Fixed)
	from, to, problem := rangeKeys(a)
	row[14] = from
	if to != nil {
		row[15] = to
	}
	row[16], row[17], row[18] = int16(a.Status), int16(a.Severity), clean(a.Urgency)
	if problem != nil {
		row[19] = *problem
	}
	return row, nil
}

// describe sets the columns aliases to modified.
func (r *reading) describe(row []any) error {
	rec := r.record
	aliases := make([]string, len(rec.Aliases))
	for i, alias := range rec.Aliases {
		aliases[i] = clean(alias)
	}
	row[0], row[1], row[2], row[3] = aliases, int16(rec.Severity), clean(rec.Description), clean(rec.Link)
	if len(rec.CVSS) > 0 {
		text, err := jsonText(rec.CVSS)
		if err != nil {
			return err
		}
		row[4] = text
	}
	if !rec.Published.IsZero() {
		row[5] = rec.Published
	}
	if !rec.Modified.IsZero() {
		row[6] = rec.Modified
	}
	return nil
}

// Err returns what ended the records early.
func (r *reading) Err() error { return r.err }

// rangeKeys returns the sort keys of a range: the start, never nil, and the end, nil for none; or why
// it cannot be compared.
func rangeKeys(a advisory.Range) (from, to []byte, problem *string) {
	from = []byte{}
	if a.Problem != "" {
		return from, nil, &a.Problem
	}
	if a.Introduced != "" {
		if from, problem = keyOrProblem(a.Scheme, a.Introduced); problem != nil {
			return []byte{}, nil, problem
		}
	}
	if a.Fixed != "" {
		if to, problem = keyOrProblem(a.Scheme, a.Fixed); problem != nil {
			return []byte{}, nil, problem
		}
	}
	return from, to, nil
}
