package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// FeedState says what is known of a feed. The numbers are stored.
type FeedState uint8

// The states of a feed.
const (
	FeedNew     FeedState = iota // never read
	FeedCurrent                  // as upstream had it when last asked
	FeedFailed                   // the last run failed; what was read before holds
	FeedHeld                     // a change was held back because it looks wrong; what was read before holds
)

var feedStates = [...]string{"new", "current", "failed", "held"}

// String returns the name that listings use.
func (s FeedState) String() string { return feedStates[s] }

// Feed is one document of a source, as it was read last.
type Feed struct {
	URL        string
	Validator  string // for a conditional request
	Checksum   []byte // sha256 of the document as transferred; nil if never read
	Cursor     string // what whoever read it last wanted to be told; see [FeedContent.Cursor]
	State      FeedState
	Checked    time.Time // upstream last answered; zero if never
	Changed    time.Time // the content last changed here; zero if never
	Failures   int       // in a row
	Error      string
	Records    int
	Ranges     int
	Bad        int
	Namespaces []string
}

// RegisterSources makes the sources known, so that reports can tell what could be known from what
// nobody covers. It is idempotent; the newest description stays.
func (s *Store) RegisterSources(ctx context.Context, sources []advisory.Source) error {
	names, descriptions, covers := make([]string, len(sources)), make([]string, len(sources)), make([]string, len(sources))
	for i, source := range sources {
		text, err := jsonText(source)
		if err != nil {
			return s.wrap("register sources", err)
		}
		names[i], descriptions[i], covers[i] = source.Name, text, joinList(source.Covers)
	}
	return s.write(ctx, "register sources", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO source (name, description, covers)
			SELECT name, description::jsonb, string_to_array(covers, ',')
			FROM unnest($1::text[], $2::text[], $3::text[]) AS v(name, description, covers)
			ORDER BY name
			ON CONFLICT (name) DO UPDATE SET description = excluded.description, covers = excluded.covers
			WHERE (source.description, source.covers) IS DISTINCT FROM (excluded.description, excluded.covers)`,
			names, descriptions, covers)
		return err
	})
}

// Feeds returns the feeds of a source by URL.
func (s *Store) Feeds(ctx context.Context, source string) (map[string]Feed, error) {
	feeds := make(map[string]Feed)
	err := s.read(ctx, "read feeds", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT f.url, f.validator, f.checksum, f.cursor, f.state, coalesce(f.checked_at, 'epoch'), coalesce(f.changed_at, 'epoch'),
				f.failures, f.error, f.records, f.ranges, f.bad,
				array(SELECT n.name FROM feed_namespace fn JOIN namespace n ON n.id = fn.namespace_id WHERE fn.feed_id = f.id ORDER BY 1)
			FROM feed f JOIN source s ON s.id = f.source_id WHERE s.name = $1`, source)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var f Feed
			err := rows.Scan(&f.URL, &f.Validator, &f.Checksum, &f.Cursor, &f.State, &f.Checked, &f.Changed,
				&f.Failures, &f.Error, &f.Records, &f.Ranges, &f.Bad, &f.Namespaces)
			if err != nil {
				return err
			}
			f.Checked, f.Changed = fromEpoch(f.Checked), fromEpoch(f.Changed)
			feeds[f.URL] = f
		}
		return rows.Err()
	})
	return feeds, err
}

// fromEpoch turns the stand-in for null into the zero time.
func fromEpoch(t time.Time) time.Time {
	if t.Unix() == 0 {
		return time.Time{}
	}
	return t.UTC()
}

// FeedUnchanged notes that upstream was asked and has nothing new. The cursor is as in [FeedContent].
func (s *Store) FeedUnchanged(ctx context.Context, url, validator, cursor string) error {
	return s.write(ctx, "note unchanged feed", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE feed SET checked_at = now(), validator = $2, cursor = $3, failures = 0, error = '',
				state = CASE WHEN state = 3 THEN 3 ELSE 1 END
			WHERE url = $1`, url, validator, cursor)
		return err
	})
}

// FeedFailed notes that a feed could not be read. What was read before stays in force.
func (s *Store) FeedFailed(ctx context.Context, source, url string, cause error) error {
	state := FeedFailed
	if errors.Is(cause, ErrHeldBack) {
		state = FeedHeld
	}
	return s.write(ctx, "note failed feed", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			INSERT INTO feed (source_id, url, state, failures, error)
			SELECT id, $2, $3, 1, $4 FROM source WHERE name = $1
			ON CONFLICT (url) DO UPDATE SET state = excluded.state, failures = feed.failures + 1, error = excluded.error`,
			source, url, int16(state), clean(cause.Error()))
		if err == nil && tag.RowsAffected() == 0 {
			err = fault.Newf(fault.NotFound, "note failed feed", source, "there is no such source")
		}
		return err
	})
}

// BeginRun returns the database's time at which a run of a source begins. It writes nothing: a run whose process dies
// was none, and what asked for it still does.
func (s *Store) BeginRun(ctx context.Context) (began time.Time, err error) {
	err = s.read(ctx, "begin run", func(tx pgx.Tx) error { return tx.QueryRow(ctx, `SELECT now()`).Scan(&began) })
	return began, err
}

// EndRun notes how a run of the source went that began at a time of [Store.BeginRun], zero for what was no run of its
// own; cause is nil where all went well.
func (s *Store) EndRun(ctx context.Context, source string, began time.Time, cause error) error {
	text := ""
	if cause != nil {
		text = clean(cause.Error())
	}
	var run *time.Time
	if !began.IsZero() {
		run = &began
	}
	return s.write(ctx, "end run", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE source SET error = $2,
				run_at = CASE WHEN $3::timestamptz IS NULL THEN run_at ELSE now() END,
				requested_at = CASE WHEN requested_at <= $3 THEN NULL ELSE requested_at END
			WHERE name = $1`, source, text, run)
		return err
	})
}

// RequestRun asks whoever runs the sources to run these now; with none named, all. It returns the
// names of those that were asked for. Where one is not known, none is asked for, and the error is a fault
// of kind NotFound.
func (s *Store) RequestRun(ctx context.Context, sources []string) ([]string, error) {
	var names []string
	err := s.write(ctx, "request run", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE source SET requested_at = now() WHERE coalesce(cardinality($1::text[]), 0) = 0 OR name = ANY($1) RETURNING name`, sources)
		if err != nil {
			return err
		}
		if names, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		for _, name := range sources {
			if !slices.Contains(names, name) {
				return fault.Newf(fault.NotFound, "request run of", name, "there is no such source")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// SourceStatus is a source and the sum of its feeds.
type SourceStatus struct {
	advisory.Source
	State     FeedState // the worst of its feeds
	Updated   time.Time // the newest change of a feed; zero if never
	Checked   time.Time // the oldest time at which a feed was last known to be current; zero if never
	RunAt     time.Time // the last run ended; zero if never
	Requested time.Time // a run is asked for; zero if not
	Documents int       // feeds that were read
	Records   int
	Ranges    int
	Undecided int // ranges whose versions cannot be compared, and records that could not be used
	Error     string
}

// SourceStatuses returns all sources by name.
func (s *Store) SourceStatuses(ctx context.Context) ([]SourceStatus, error) {
	var out []SourceStatus
	err := s.read(ctx, "read sources", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT s.description, coalesce(f.state, 0), coalesce(f.changed, 'epoch'), coalesce(f.checked, 'epoch'),
				coalesce(s.run_at, 'epoch'), coalesce(s.requested_at, 'epoch'),
				coalesce(f.documents, 0), coalesce(f.records, 0), coalesce(f.ranges, 0), coalesce(f.bad, 0) + coalesce(a.undecided, 0),
				coalesce(nullif(f.error, ''), s.error)
			FROM source s
			LEFT JOIN (
				SELECT source_id, max(state) AS state, max(changed_at) AS changed, min(checked_at) AS checked,
					count(*) FILTER (WHERE changed_at IS NOT NULL) AS documents,
					sum(records) AS records, sum(ranges) AS ranges, sum(bad) AS bad, max(error) AS error
				FROM feed GROUP BY 1) f ON f.source_id = s.id
			LEFT JOIN (
				SELECT f.source_id, count(*) AS undecided FROM affected a JOIN feed f ON f.id = a.feed_id
				WHERE a.problem IS NOT NULL GROUP BY 1) a ON a.source_id = s.id
			ORDER BY s.name`)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (SourceStatus, error) {
			var st SourceStatus
			err := row.Scan(&st.Source, &st.State, &st.Updated, &st.Checked, &st.RunAt, &st.Requested,
				&st.Documents, &st.Records, &st.Ranges, &st.Undecided, &st.Error)
			st.Updated, st.Checked = fromEpoch(st.Updated), fromEpoch(st.Checked)
			st.RunAt, st.Requested = fromEpoch(st.RunAt), fromEpoch(st.Requested)
			return st, err
		})
		return err
	})
	return out, err
}
