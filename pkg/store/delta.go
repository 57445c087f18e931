package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// ErrHeldBack is wrapped by the error of [Store.ApplyFeed] when a change looks wrong. What was read
// before stays in force; an operator can accept the change.
var ErrHeldBack = errors.New("held back")

// FeedContent is a new version of a feed.
type FeedContent struct {
	Source    string
	URL       string
	Validator string
	Checksum  []byte
	SizeBytes int64
	// Namespaces are what the feed speaks for whether or not it lists anything there; the ones that
	// it lists are added.
	Namespaces map[string]version.Scheme
	Records    advisory.Records
	// Partial says that the records are not all there is: each replaces what the feed said about its advisory, one
	// without ranges withdrawing it, and all others stay.
	Partial bool
	// Cursor is kept with the feed for whoever reads it next. The store does not look into it.
	Cursor string
	// AcceptShrink applies the feed however much smaller it is than before.
	AcceptShrink bool
	// Origin is set where the content comes from another store. Nil means that it was read from upstream, now.
	Origin *Origin
}

// Delta is what a new version of a feed changed.
type Delta struct {
	Records   int                  // read
	Ranges    int                  // in force now
	Added     int                  // ranges
	Removed   int                  // ranges
	Changed   int                  // ranges of which status or severity changed
	Findings  int                  // that are new
	Withdrawn int                  // findings that are gone
	Changes   int                  // differences recorded, one for each release and advisory; see change.go
	Bad       int                  // records that could not be used
	BadNamed  []advisory.BadRecord // the first of them
	Unchanged bool                 // another process was faster with the same content
}

// Most records that cannot be used which are named; the rest are counted.
const badNamed = 100

// A feed that had at least shrinkFloor ranges and loses more than a third of them is held back.
const (
	shrinkFloor = 100
	shrinkRatio = 2.0 / 3
)

// ApplyFeed reads the records, compares them with what the feed said before, and applies the
// difference and its effect on the findings, in one transaction. Readers see the old state until it
// commits, and the analysis of layers goes on meanwhile; see correlate.go for the moment of locking.
// Its cost on the findings is in proportion to the difference.
//
// Errors: one that wraps [ErrHeldBack] when the change looks wrong; the error that ended the records;
// a fault of the database. In all cases nothing changed.
func (s *Store) ApplyFeed(ctx context.Context, content FeedContent) (Delta, error) {
	var delta Delta
	// The records can be read once only, so there is no second attempt here: a conflict is the
	// caller's to repeat. There is none to expect, the feed's row being locked first.
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		d := &deltaTx{tx: tx, content: content}
		var err error
		delta, err = d.run(ctx)
		return err
	})
	if err == nil {
		s.analyze(ctx, delta)
	}
	return delta, s.wrap("apply feed", ended(ctx, err))
}

// analyze has Postgres look again at what a feed changed much of. Should it fail, the feed is applied all the same, and Postgres
// will do it by itself.
func (s *Store) analyze(ctx context.Context, delta Delta) {
	const many = 10_000
	var ranges float64 // as Postgres knows; negative if it has never looked
	changed := delta.Added + delta.Removed
	if changed < many {
		return
	}
	err := s.pool.QueryRow(ctx, `SELECT reltuples FROM pg_class WHERE oid = 'affected'::regclass`).Scan(&ranges)
	if err == nil && float64(changed) > ranges/10 {
		_, _ = s.pool.Exec(ctx, `ANALYZE affected, advisory, finding, release`)
	}
}

// deltaTx is the state of one ApplyFeed.
type deltaTx struct {
	tx       pgx.Tx
	content  FeedContent
	sourceID int16
	feedID   int32
	ranges   int  // before
	initial  bool // the feed was never read before
	batchID  int64
	snapshot string
	reading  reading
	delta    Delta
}

func (d *deltaTx) run(ctx context.Context) (Delta, error) {
	if unchanged, err := d.lockFeed(ctx); err != nil || unchanged {
		return Delta{Unchanged: unchanged}, err
	}
	for _, step := range []func(context.Context) error{
		d.stage, d.resolveNames, d.ensureAdvisories, d.diff, d.checkShrink,
		d.takeSnapshot, d.noteBefore, d.removeRanges, d.addRanges, d.correlate, d.noteChanges, d.settle, d.finish,
	} {
		if err := step(ctx); err != nil {
			return Delta{}, err
		}
	}
	return d.delta, nil
}

// lockFeed makes this the only transaction on the feed.
func (d *deltaTx) lockFeed(ctx context.Context) (unchanged bool, err error) {
	err = d.tx.QueryRow(ctx, `SELECT id FROM source WHERE name = $1`, d.content.Source).Scan(&d.sourceID)
	if err != nil {
		return false, notFound(err, "apply feed", d.content.Source, "there is no such source")
	}
	batch := &pgx.Batch{}
	batch.Queue(`SELECT pg_advisory_xact_lock_shared($1)`, int64(feedsLock)) // see collect.go
	batch.Queue(`INSERT INTO feed (source_id, url) VALUES ($1, $2) ON CONFLICT DO NOTHING`, d.sourceID, d.content.URL)
	if err := d.tx.SendBatch(ctx, batch).Close(); err != nil {
		return false, err
	}
	var checksum []byte
	var cursor string
	var state FeedState
	err = d.tx.QueryRow(ctx, `SELECT id, ranges, checksum, cursor, state, changed_at IS NULL FROM feed WHERE url = $1 FOR UPDATE`, d.content.URL).
		Scan(&d.feedID, &d.ranges, &checksum, &cursor, &state, &d.initial)
	return err == nil && state == FeedCurrent && checksum != nil && bytes.Equal(checksum, d.content.Checksum) && cursor == d.content.Cursor, err
}

// resolveNames makes sure that the namespaces of the staged rows are known, and says what the feed speaks for.
func (d *deltaTx) resolveNames(ctx context.Context) error {
	schemes := make(map[string]version.Scheme)
	for name, scheme := range d.content.Namespaces {
		schemes[name] = scheme
	}
	rows, err := d.tx.Query(ctx, `SELECT DISTINCT namespace, scheme FROM stage WHERE namespace IS NOT NULL`)
	if err != nil {
		return err
	}
	var name, scheme string
	_, err = pgx.ForEachRow(rows, []any{&name, &scheme}, func() error {
		schemes[name] = version.Scheme(scheme)
		return nil
	})
	if err != nil {
		return err
	}
	ids, err := ensureNamespaces(ctx, d.tx, schemes)
	if err != nil {
		return err
	}
	var spaces []int32
	for _, id := range ids {
		spaces = append(spaces, id)
	}
	batch := &pgx.Batch{}
	if !d.content.Partial {
		batch.Queue(`DELETE FROM feed_namespace WHERE feed_id = $1 AND namespace_id <> ALL($2::smallint[])`, d.feedID, spaces)
	}
	batch.Queue(`INSERT INTO feed_namespace (feed_id, namespace_id) SELECT $1, unnest($2::smallint[]) ON CONFLICT DO NOTHING`, d.feedID, spaces)
	return d.tx.SendBatch(ctx, batch).Close()
}

// manyAdvisories are so many new ones that what the planner knows of the table is no longer true.
const manyAdvisories = 1000

// ensureAdvisories brings the advisories of the source up to what the feed says of them. Where a feed
// does not tell, what another feed of the source told stays.
func (d *deltaTx) ensureAdvisories(ctx context.Context) error {
	_, err := d.tx.Exec(ctx, `
		CREATE TEMPORARY TABLE stage_advisory ON COMMIT DROP AS
		SELECT DISTINCT ON (advisory) advisory AS name, aliases, advisory_severity AS severity, description, link,
			cvss::jsonb AS cvss, weaknesses, "references", published, modified
		FROM stage WHERE aliases IS NOT NULL
		ORDER BY advisory, description = '', record`)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(`
		CREATE TEMPORARY TABLE revised ON COMMIT DROP AS
		SELECT a.id, a.severity FROM advisory a JOIN stage_advisory v ON a.source_id = $1 AND a.name = v.name
		WHERE v.severity <> 0 AND v.severity <> a.severity`, d.sourceID)
	var added int64
	batch.Queue(`
		INSERT INTO advisory (source_id, name, aliases, severity, description, link, cvss, weaknesses, "references", published, modified)
		SELECT $1, v.* FROM stage_advisory v
		WHERE NOT EXISTS (SELECT FROM advisory a WHERE a.source_id = $1 AND a.name = v.name)
		ORDER BY v.name
		ON CONFLICT DO NOTHING`, d.sourceID).Exec(func(tag pgconn.CommandTag) error {
		added = tag.RowsAffected()
		return nil
	})
	batch.Queue(`
		UPDATE advisory a SET
			aliases = CASE WHEN v.aliases = '{}' THEN a.aliases ELSE v.aliases END,
			severity = CASE WHEN v.severity = 0 THEN a.severity ELSE v.severity END,
			description = coalesce(nullif(v.description, ''), a.description),
			link = coalesce(nullif(v.link, ''), a.link),
			weaknesses = CASE WHEN v.weaknesses = '{}' THEN a.weaknesses ELSE v.weaknesses END,
			"references" = CASE WHEN v."references" = '{}' THEN a."references" ELSE v."references" END,
			cvss = coalesce(v.cvss, a.cvss), published = coalesce(v.published, a.published), modified = coalesce(v.modified, a.modified)
		FROM stage_advisory v
		WHERE a.source_id = $1 AND a.name = v.name AND (
			(v.aliases <> '{}' AND v.aliases <> a.aliases) OR (v.severity <> 0 AND v.severity <> a.severity) OR
			(v.description <> '' AND v.description <> a.description) OR (v.link <> '' AND v.link <> a.link) OR
			(v.weaknesses <> '{}' AND v.weaknesses <> a.weaknesses) OR (v."references" <> '{}' AND v."references" <> a."references") OR
			(v.cvss IS NOT NULL AND v.cvss IS DISTINCT FROM a.cvss) OR
			(v.published IS NOT NULL AND v.published IS DISTINCT FROM a.published) OR
			(v.modified IS NOT NULL AND v.modified IS DISTINCT FROM a.modified))`, d.sourceID)
	if err := d.tx.SendBatch(ctx, batch).Close(); err != nil || added < manyAdvisories {
		return err
	}
	// To a planner that has seen none of this source, the joins to come look like a handful of rows.
	_, err = d.tx.Exec(ctx, `ANALYZE advisory`)
	return err
}

// diff sets the feed's ranges before and now against each other, once: those gone, altered, and new.
func (d *deltaTx) diff(ctx context.Context) error {
	before := `SELECT * FROM affected WHERE feed_id = $1`
	if d.content.Partial { // what it does not name stays
		before += ` AND advisory_id IN (
			SELECT a.id FROM advisory a JOIN (SELECT DISTINCT advisory FROM stage WHERE kept IS NULL) s
			ON a.source_id = (SELECT source_id FROM feed WHERE id = $1) AND a.name = s.advisory)`
	}
	for _, statement := range []struct {
		sql  string
		args []any
	}{
		{`CREATE TEMPORARY TABLE wanted ON COMMIT DROP AS
		SELECT DISTINCT ON (a.id, n.id, s.name, s.introduced, s.fixed, s.last)
			a.id AS advisory_id, n.id AS namespace_id, s.name, s.introduced, s.fixed, s.last, s.introduced_key, s.fixed_key,
			s.status, s.severity, s.urgency, s.problem
		FROM stage s JOIN namespace n ON n.name = s.namespace JOIN advisory a ON a.source_id = $1 AND a.name = s.advisory
		ORDER BY a.id, n.id, s.name, s.introduced, s.fixed, s.last, s.severity DESC, s.status`, []any{d.sourceID}},
		{`ANALYZE wanted (advisory_id)`, nil},
		{`CREATE TEMPORARY TABLE difference ON COMMIT DROP AS
		SELECT a.id, a.advisory_id AS old_advisory_id, a.name AS old_name, w.*
		FROM (` + before + `) a FULL JOIN wanted w ON (w.advisory_id, w.namespace_id, w.name, w.introduced, w.fixed, w.last)
			= (a.advisory_id, a.namespace_id, a.name, a.introduced, a.fixed, a.last)
		WHERE (w.status, w.severity, w.urgency, w.problem, w.introduced_key, w.fixed_key)
			IS DISTINCT FROM (a.status, a.severity, a.urgency, a.problem, a.introduced_key, a.fixed_key)`, []any{d.feedID}},
		{`CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
		SELECT x.id, x.old_advisory_id AS advisory_id FROM difference x JOIN advisory v ON v.id = x.old_advisory_id
		WHERE x.advisory_id IS NULL AND NOT EXISTS (
			SELECT FROM stage k WHERE k.kept AND coalesce(k.advisory, v.name) = v.name AND coalesce(k.name, x.old_name) = x.old_name)`, nil},
		{`CREATE TEMPORARY TABLE altered ON COMMIT DROP AS
		SELECT id, status, severity, urgency, problem, introduced_key, fixed_key FROM difference
		WHERE id IS NOT NULL AND advisory_id IS NOT NULL`, nil},
		{`CREATE TEMPORARY TABLE changed (id integer NOT NULL, fresh boolean NOT NULL) ON COMMIT DROP`, nil},
	} {
		if _, err := d.tx.Exec(ctx, statement.sql, statement.args...); err != nil {
			return err
		}
	}
	var fresh int
	err := d.tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM difference WHERE id IS NULL)`).
		Scan(&d.delta.Removed, &fresh)
	d.delta.Ranges = d.ranges - d.delta.Removed + fresh
	return err
}

// checkShrink holds back a feed that lost much of what it said: an upstream's outage must not look
// like a thousand fixed vulnerabilities.
func (d *deltaTx) checkShrink(context.Context) error {
	if d.content.AcceptShrink || d.content.Partial || d.ranges < shrinkFloor || float64(d.delta.Ranges) >= shrinkRatio*float64(d.ranges) {
		return nil
	}
	return fault.New(fault.Corrupt, "apply feed", d.content.URL, fmt.Errorf(
		"%w: it lists %d ranges where it listed %d before; if that is right, run the update again with --accept-shrink",
		ErrHeldBack, d.delta.Ranges, d.ranges))
}

func (d *deltaTx) removeRanges(ctx context.Context) error {
	if d.delta.Removed == 0 {
		return nil
	}
	tag, err := d.tx.Exec(ctx, `DELETE FROM finding f USING gone g WHERE f.affected_id = g.id`)
	if err != nil {
		return err
	}
	d.delta.Withdrawn = int(tag.RowsAffected())
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM undecided u USING gone g WHERE u.affected_id = g.id`)
	batch.Queue(`DELETE FROM affected a USING gone g WHERE a.id = g.id`)
	return d.tx.SendBatch(ctx, batch).Close()
}

func (d *deltaTx) addRanges(ctx context.Context) error {
	tag, err := d.tx.Exec(ctx, `
		WITH done AS (
			UPDATE affected a SET status = w.status, severity = w.severity, urgency = w.urgency, problem = w.problem,
				introduced_key = w.introduced_key, fixed_key = w.fixed_key
			FROM altered w WHERE a.id = w.id
			RETURNING a.id)
		INSERT INTO changed SELECT id, false FROM done`)
	if err != nil {
		return err
	}
	d.delta.Changed = int(tag.RowsAffected())
	tag, err = d.tx.Exec(ctx, `
		WITH fresh AS (
			INSERT INTO affected (feed_id, advisory_id, namespace_id, name, introduced, fixed, last, introduced_key, fixed_key, status, severity, urgency, problem)
			SELECT $1, advisory_id, namespace_id, name, introduced, fixed, last, introduced_key, fixed_key, status, severity, urgency, problem
			FROM difference WHERE id IS NULL
			RETURNING id)
		INSERT INTO changed SELECT id, true FROM fresh`, d.feedID)
	d.delta.Added = int(tag.RowsAffected())
	return err
}

// takeSnapshot notes which releases the statements from here on see.
func (d *deltaTx) takeSnapshot(ctx context.Context) error {
	return d.tx.QueryRow(ctx, `SELECT pg_current_snapshot()::text`).Scan(&d.snapshot)
}

// changedPairs are the known releases with the changed ranges of their name.
const changedPairs = `
	SELECT r.id, a.id FROM changed c JOIN affected a ON a.id = c.id
	JOIN release r ON r.namespace_id = a.namespace_id AND r.name = a.name
	WHERE `

// unseen is the condition that a release r is not in the snapshot $1.
const unseen = `r.born >= pg_snapshot_xmin($1::pg_snapshot)::text::bigint AND NOT pg_visible_in_snapshot(r.born::text::xid8, $1::pg_snapshot)`

// unseenReleases are the releases that are not in the snapshot $1: few, or none.
const unseenReleases = ` (SELECT r.id FROM release r WHERE ` + unseen + `)`

// correlate finds the known releases in the changed ranges: the first join, see correlate.go.
func (d *deltaTx) correlate(ctx context.Context) error {
	if d.delta.Added+d.delta.Changed == 0 {
		return nil
	}
	if _, err := d.tx.Exec(ctx, `ANALYZE changed`); err != nil {
		return err
	}
	if d.delta.Changed > 0 { // the findings that still hold come back by the join
		tag, err := d.tx.Exec(ctx, `DELETE FROM finding f USING changed c WHERE f.affected_id = c.id AND NOT c.fresh`)
		if err != nil {
			return err
		}
		d.delta.Withdrawn += int(tag.RowsAffected())
		_, err = d.tx.Exec(ctx, `DELETE FROM undecided u USING changed c WHERE u.affected_id = c.id AND NOT c.fresh`)
		if err != nil {
			return err
		}
	}
	if d.delta.Added > 0 {
		if err := d.join(ctx, changedPairs+"c.fresh AND ", "ORDER BY r.id, a.id"); err != nil {
			return err
		}
	}
	if d.delta.Changed > 0 {
		return d.join(ctx, changedPairs+"NOT c.fresh AND ", "ON CONFLICT DO NOTHING")
	}
	return nil
}

// settle does for the releases that were not in the snapshot what was done for the others: the second
// join, under the lock, see correlate.go. Their workers saw the ranges as they were before.
func (d *deltaTx) settle(ctx context.Context) error {
	if d.delta.Added+d.delta.Changed+d.delta.Removed == 0 {
		return nil
	}
	if _, err := d.tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(correlationLock)); err != nil {
		return err
	}
	if err := d.noteBeforeOf(ctx, "IN"); err != nil {
		return err
	}
	for _, table := range []string{"finding", "undecided"} {
		_, err := d.tx.Exec(ctx, `
			DELETE FROM `+table+` f USING release r
			WHERE r.id = f.release_id AND `+unseen+`
			AND f.affected_id IN (SELECT id FROM gone UNION ALL SELECT id FROM changed WHERE NOT fresh)`, d.snapshot)
		if err != nil {
			return err
		}
	}
	if err := d.join(ctx, changedPairs+unseen+" AND ", "ON CONFLICT DO NOTHING", d.snapshot); err != nil {
		return err
	}
	return d.noteChangesOf(ctx, "IN")
}

// join adds the findings and what is undecided among the pairs. Of ranges that nobody else has seen no pair can be there, so that
// the first join need not look for conflicts, and in the order of the primary key it takes half the time.
func (d *deltaTx) join(ctx context.Context, pairs, tail string, args ...any) error {
	tag, err := d.tx.Exec(ctx, `INSERT INTO finding (release_id, affected_id) `+pairs+isFinding+` `+tail, args...)
	if err != nil {
		return err
	}
	d.delta.Findings += int(tag.RowsAffected())
	_, err = d.tx.Exec(ctx, `INSERT INTO undecided (release_id, affected_id) `+pairs+isOpen+` `+tail, args...)
	return err
}

// bad counts a record that could not be used, and names the first of them.
func (d *Delta) bad(record *advisory.BadRecord) {
	d.Bad++
	if len(d.BadNamed) < badNamed {
		d.BadNamed = append(d.BadNamed, *record)
	}
}

// noteFeed notes the feed's new state.
func (d *deltaTx) noteFeed(ctx context.Context) error {
	records, bad, list, checked := d.counts()
	var named any
	if len(list) > 0 {
		text, err := jsonText(list)
		if err != nil {
			return err
		}
		named = text
	}
	_, err := d.tx.Exec(ctx, `
		UPDATE feed SET validator = $2, checksum = $3, size_bytes = $4, checked_at = coalesce($10, now()), changed_at = now(), state = 1,
			failures = 0, error = '', records = $5, ranges = $6, bad = $7, bad_records = $8::text::jsonb, cursor = $9
		WHERE id = $1`, d.feedID, d.content.Validator, d.content.Checksum, d.content.SizeBytes,
		records, d.delta.Ranges, bad, named, d.content.Cursor, checked)
	return err
}

// finish notes the feed's new state, and drops advisories that no feed lists any more.
func (d *deltaTx) finish(ctx context.Context) error {
	if err := d.noteFeed(ctx); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	if d.content.Partial {
		batch.Queue(`UPDATE feed SET records = (SELECT count(*) FROM advisory WHERE source_id = $2) WHERE id = $1`, d.feedID, d.sourceID)
	}
	if d.batchID != 0 && d.delta.Changes == 0 {
		batch.Queue(`DELETE FROM change_batch WHERE id = $1`, d.batchID)
	}
	if d.delta.Removed > 0 {
		batch.Queue(`
			DELETE FROM advisory v USING (SELECT DISTINCT advisory_id FROM gone) g
			WHERE v.id = g.advisory_id AND NOT EXISTS (SELECT FROM affected a WHERE a.advisory_id = v.id)
			AND NOT EXISTS (SELECT FROM stage_advisory s WHERE s.name = v.name)`)
	}
	return d.tx.SendBatch(ctx, batch).Close()
}
