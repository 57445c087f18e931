package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// Snapshot is what the feeds say, all at one moment, to be read from one end to the other: memory does not depend on
// how much it is. It is for one goroutine, and for the time of the call of [Store.Snapshot].
type Snapshot struct{ tx pgx.Tx }

// Snapshot calls f with what is known now, and returns its error.
func (s *Store) Snapshot(ctx context.Context, f func(*Snapshot) error) error {
	var failed error
	err := s.read(ctx, "read feeds", func(tx pgx.Tx) error {
		failed = f(&Snapshot{tx})
		return nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// SnapshotFeed is a feed with what is needed to tell another store of it.
type SnapshotFeed struct {
	Feed
	Source    string
	SizeBytes int64
	BadNamed  []advisory.BadRecord
	Schemes   map[string]version.Scheme // of the namespaces that it speaks for
}

// Feeds returns the feeds that were read at least once, by source and URL.
func (s *Snapshot) Feeds(ctx context.Context) ([]SnapshotFeed, error) {
	rows, err := s.tx.Query(ctx, `
		SELECT s.name, f.url, f.checksum, f.cursor, f.size_bytes, f.state, coalesce(f.checked_at, 'epoch'), f.changed_at,
			f.failures, f.error, f.records, f.ranges, f.bad, f.bad_records,
			array(SELECT n.name FROM feed_namespace fn JOIN namespace n ON n.id = fn.namespace_id WHERE fn.feed_id = f.id ORDER BY n.name),
			array(SELECT n.scheme FROM feed_namespace fn JOIN namespace n ON n.id = fn.namespace_id WHERE fn.feed_id = f.id ORDER BY n.name)
		FROM feed f JOIN source s ON s.id = f.source_id WHERE f.changed_at IS NOT NULL
		ORDER BY s.name, f.url`)
	if err != nil {
		return nil, fmt.Errorf("read feeds: %w", err)
	}
	feeds, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (SnapshotFeed, error) {
		var f SnapshotFeed
		var schemes []string
		err := row.Scan(&f.Source, &f.URL, &f.Checksum, &f.Cursor, &f.SizeBytes, &f.State, &f.Checked, &f.Changed,
			&f.Failures, &f.Error, &f.Records, &f.Ranges, &f.Bad, &f.BadNamed, &f.Namespaces, &schemes)
		f.Checked, f.Changed = fromEpoch(f.Checked), f.Changed.UTC()
		f.Schemes = make(map[string]version.Scheme, len(schemes))
		for i, scheme := range schemes {
			f.Schemes[f.Namespaces[i]] = version.Scheme(scheme)
		}
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("read feeds: %w", err)
	}
	return feeds, nil
}

// maxRanges is the most ranges that one record of a snapshot has; those of an advisory that has more come in several,
// of which the first describes it.
const maxRanges = 500

// describing are the columns that describe an advisory v, of the first row that is about it.
const describing = `
	v.severity, v.aliases, v.description, v.link, v.cvss, v.weaknesses, v."references", v.published, v.modified`

// Ranges returns the advisories of which the feed lists ranges, with these.
func (s *Snapshot) Ranges(ctx context.Context, url string) advisory.Records {
	return s.records(ctx, `
		SELECT v.name, d.*, n.name, n.scheme, a.name, a.introduced, a.fixed, a.last, a.status, a.severity, a.urgency, coalesce(a.problem, '')
		FROM (
			SELECT a.*, row_number() OVER (PARTITION BY a.advisory_id ORDER BY a.id) = 1 AS first
			FROM affected a JOIN feed f ON f.id = a.feed_id WHERE f.url = $1) a
		JOIN namespace n ON n.id = a.namespace_id
		JOIN advisory v ON v.id = a.advisory_id
		LEFT JOIN LATERAL (SELECT `+describing+`) d ON a.first
		ORDER BY a.advisory_id, a.id`, url)
}

// Descriptions returns the advisories of a source of which no feed lists a range: those that only describe, and those
// about what nobody has.
func (s *Snapshot) Descriptions(ctx context.Context, source string) advisory.Records {
	return s.records(ctx, `
		SELECT v.name, `+describing+`, NULL, NULL, NULL, NULL, NULL, NULL, NULL::smallint, NULL::smallint, NULL, NULL
		FROM advisory v JOIN source s ON s.id = v.source_id
		WHERE s.name = $1 AND NOT EXISTS (SELECT FROM affected a WHERE a.advisory_id = v.id)
		ORDER BY v.id`, source)
}

// KnownExploited returns the catalog of vulnerabilities that are being exploited.
func (s *Snapshot) KnownExploited(ctx context.Context) advisory.Exploitations {
	return s.exploitations(ctx, `SELECT cve, kev, NULL::real, NULL::real FROM exploitation WHERE kev IS NOT NULL ORDER BY cve`)
}

// Scores returns how probable the exploitation of vulnerabilities is.
func (s *Snapshot) Scores(ctx context.Context) advisory.Exploitations {
	return s.exploitations(ctx, `SELECT cve, NULL::jsonb, epss, percentile FROM exploitation WHERE epss IS NOT NULL ORDER BY cve`)
}

// records groups the rows of a query by advisory.
func (s *Snapshot) records(ctx context.Context, query string, args ...any) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		rows, err := s.tx.Query(ctx, query, args...)
		if err != nil {
			yield(advisory.Record{}, fmt.Errorf("read advisories: %w", err))
			return
		}
		defer rows.Close()
		var record advisory.Record
		for rows.Next() {
			next, err := scanRecord(rows)
			if err != nil {
				yield(advisory.Record{}, fmt.Errorf("read advisories: %w", err))
				return
			}
			if next.ID == record.ID && len(record.Affected) < maxRanges {
				record.Affected = append(record.Affected, next.Affected...)
				continue
			}
			if record.ID != "" && !yield(record, nil) {
				return
			}
			record = next
		}
		if err := rows.Err(); err != nil {
			yield(advisory.Record{}, fmt.Errorf("read advisories: %w", err))
			return
		}
		if record.ID != "" {
			yield(record, nil)
		}
	}
}

// scanRecord reads a row: an advisory with one range or none.
func scanRecord(rows pgx.Rows) (advisory.Record, error) {
	var r advisory.Record
	var description, link, namespace, scheme, name, introduced, fixed, last, urgency, problem *string
	var severity, rangeSeverity *advisory.Severity
	var status *advisory.Status
	var published, modified *time.Time
	err := rows.Scan(&r.ID, &severity, &r.Aliases, &description, &link, &r.CVSS, &r.Weaknesses, &r.References, &published, &modified,
		&namespace, &scheme, &name, &introduced, &fixed, &last, &status, &rangeSeverity, &urgency, &problem)
	if err != nil {
		return advisory.Record{}, err
	}
	r.Severity, r.Description, r.Link = value(severity), value(description), value(link)
	r.Published, r.Modified = value(published).UTC(), value(modified).UTC()
	if namespace != nil {
		r.Affected = []advisory.Range{{
			Namespace: *namespace, Scheme: version.Scheme(value(scheme)), Name: value(name), Introduced: value(introduced),
			Fixed: value(fixed), Last: value(last), Status: value(status), Severity: value(rangeSeverity),
			Urgency: value(urgency), Problem: value(problem),
		}}
	}
	return r, nil
}

// value returns what p points at, or the zero value for null.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (s *Snapshot) exploitations(ctx context.Context, query string) advisory.Exploitations {
	return func(yield func(advisory.Exploitation, error) bool) {
		rows, err := s.tx.Query(ctx, query)
		if err != nil {
			yield(advisory.Exploitation{}, fmt.Errorf("read exploitation: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var e advisory.Exploitation
			var probability, percentile *float32
			if err := rows.Scan(&e.CVE, &e.Known, &probability, &percentile); err != nil {
				yield(advisory.Exploitation{}, fmt.Errorf("read exploitation: %w", err))
				return
			}
			if probability != nil {
				e.Score = &advisory.EPSS{Probability: *probability, Percentile: value(percentile)}
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(advisory.Exploitation{}, fmt.Errorf("read exploitation: %w", err))
		}
	}
}
