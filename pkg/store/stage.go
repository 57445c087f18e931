package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// stage copies the records into a temporary table, a row for each range. What describes the advisory
// stands in the first row of a record only.
func (d *deltaTx) stage(ctx context.Context) error {
	_, err := d.tx.Exec(ctx, `
		CREATE TEMPORARY TABLE stage (
			record integer, advisory text, aliases text[], advisory_severity smallint, description text, link text,
			cvss text, weaknesses text[], "references" text[], published timestamptz, modified timestamptz,
			namespace text, scheme text, name text, introduced text, fixed text, last text, introduced_key bytea, fixed_key bytea,
			status smallint, severity smallint, urgency text, problem text, kept boolean
		) ON COMMIT DROP`)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(d.content.Records)
	defer stop()
	d.reading = reading{next: next, delta: &d.delta}
	_, err = d.tx.CopyFrom(ctx, pgx.Identifier{"stage"}, []string{
		"record", "advisory", "aliases", "advisory_severity", "description", "link", "cvss", "weaknesses", "references", "published", "modified",
		"namespace", "scheme", "name", "introduced", "fixed", "last", "introduced_key", "fixed_key",
		"status", "severity", "urgency", "problem", "kept",
	}, &d.reading)
	if d.reading.err != nil {
		return d.reading.err // Postgres only knows that the copy was broken off
	}
	if err == nil {
		_, err = d.tx.Exec(ctx, `ANALYZE stage (advisory, namespace, kept)`)
	}
	return err
}

// reading turns records into rows to copy. It implements [pgx.CopyFromSource].
type reading struct {
	next   func() (advisory.Record, error, bool)
	record advisory.Record
	at     int                 // index into record.Affected
	kept   *advisory.BadRecord // instead of record: what was said about it stays
	number int32
	delta  *Delta
	err    error
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
			r.delta.bad(bad)
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
		r.delta.Records++
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
		texts = append(texts, a.Namespace, a.Name, a.Introduced, a.Fixed, a.Last)
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

// Values returns the row, in the order of the columns that stage names.
func (r *reading) Values() ([]any, error) {
	if r.kept != nil {
		return r.keptRow(), nil //nolint:nilerr // what was kept is the row
	}
	description := make([]any, 9)
	if r.at == 0 {
		var err error
		if description, err = describe(r.record); err != nil {
			return nil, err
		}
	}
	affected := make([]any, 12)
	if len(r.record.Affected) > 0 {
		affected = rangeColumns(r.record.Affected[r.at])
	}
	return slices.Concat([]any{r.number, clean(r.record.ID)}, description, affected, []any{nil}), nil
}

// keptRow is the row of a bad record: which advisory and package it is about, and nothing else.
func (r *reading) keptRow() []any {
	var id, name any
	if r.kept.ID != "" {
		id = clean(r.kept.ID)
	}
	if r.kept.Name != "" {
		name = clean(r.kept.Name)
	}
	return slices.Concat([]any{nil, id}, make([]any, 9), []any{nil, nil, name}, make([]any, 9), []any{true})
}

// describe returns the columns aliases to modified.
func describe(r advisory.Record) ([]any, error) {
	var cvss any
	if len(r.CVSS) > 0 {
		text, err := jsonText(r.CVSS)
		if err != nil {
			return nil, err
		}
		cvss = text
	}
	return []any{
		cleanAll(r.Aliases), int16(r.Severity), clean(r.Description), clean(r.Link), cvss,
		cleanAll(r.Weaknesses), cleanAll(r.References), timeOrNull(r.Published), timeOrNull(r.Modified),
	}, nil
}

// rangeColumns returns the columns namespace to problem.
func rangeColumns(a advisory.Range) []any {
	from, to, problem := rangeKeys(a)
	var end, reason any
	if to != nil {
		end = to
	}
	if problem != nil {
		reason = clean(*problem)
	}
	return []any{
		clean(a.Namespace), string(a.Scheme), clean(a.Name), clean(a.Introduced), clean(a.Fixed), clean(a.Last),
		from, end, int16(a.Status), int16(a.Severity), clean(a.Urgency), reason,
	}
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
	end := a.Fixed
	if a.Last != "" {
		end = a.Last
	}
	if end != "" {
		if to, problem = keyOrProblem(a.Scheme, end); problem != nil {
			return []byte{}, nil, problem
		}
	}
	if a.Last != "" {
		to = append(to, 0) // the first of all that sort behind it
	}
	return from, to, nil
}
