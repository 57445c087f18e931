package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Watch is a reference that is looked at again and again. When it points at something else than when it was last
// scanned, it is scanned, and what that changed in its findings is recorded.
type Watch struct {
	Reference string // canonical
	Platforms []string
	Every     time.Duration
	Next      time.Time // it is looked at again
	Checked   time.Time // the registry last answered; zero if never
	Error     string    // of the last attempt
	Digest    digest.Digest
}

// PutWatch begins to watch a reference, or changes how; it is looked at soon.
func (s *Store) PutWatch(ctx context.Context, w Watch) error {
	return s.write(ctx, "watch", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO watch (reference, platforms, every) VALUES ($1, $2, $3)
			ON CONFLICT (reference) DO UPDATE SET platforms = excluded.platforms, every = excluded.every, next_at = now()`,
			w.Reference, notNil(w.Platforms), w.Every)
		return err
	})
}

// RemoveWatch ends watching a reference. One that is not watched is a fault of kind NotFound.
func (s *Store) RemoveWatch(ctx context.Context, reference string) error {
	return s.write(ctx, "stop watching", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM watch WHERE reference = $1`, reference)
		if err == nil && tag.RowsAffected() == 0 {
			err = fault.Newf(fault.NotFound, "stop watching", reference, "it is not watched")
		}
		return err
	})
}

const watchColumns = `
	SELECT w.reference, w.platforms, w.every, w.next_at, coalesce(w.checked_at, 'epoch'), w.error, coalesce(t.digest, '')
	FROM watch w LEFT JOIN tag t USING (reference)`

// Watches returns up to limit watches behind a reference, in the order of references; "" is before all.
func (s *Store) Watches(ctx context.Context, after string, limit int) ([]Watch, error) {
	return s.watches(ctx, watchColumns+` WHERE w.reference > $1 ORDER BY w.reference LIMIT $2`, after, limit)
}

// DueWatches returns up to limit watches that are to be looked at now, the longest overdue first.
func (s *Store) DueWatches(ctx context.Context, limit int) ([]Watch, error) {
	return s.watches(ctx, watchColumns+` WHERE w.next_at <= now() ORDER BY w.next_at LIMIT $1`, limit)
}

func (s *Store) watches(ctx context.Context, query string, args ...any) (out []Watch, err error) {
	err = s.read(ctx, "read watches", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Watch, error) {
			var w Watch
			var sum []byte
			err := row.Scan(&w.Reference, &w.Platforms, &w.Every, &w.Next, &w.Checked, &w.Error, &sum)
			if err == nil && len(sum) > 0 {
				w.Digest, err = digest.FromBytes(sum)
			}
			w.Checked = fromEpoch(w.Checked)
			return w, err
		})
		return err
	})
	return out, err
}

// Watched is how looking at a watched reference went.
type Watched struct {
	Reference  string
	Err        error         // it could not be looked at
	Delay      time.Duration // until the next time, where it is not as long as usual
	Submission *Submission   // it points at something else: to be scanned
}

// NoteWatched records how looking at watches went, and the submissions of those that have to be scanned, in one
// transaction under the leader's term.
func (s *Store) NoteWatched(ctx context.Context, term int64, list []Watched) error {
	if len(list) == 0 {
		return nil
	}
	references, failures := make([]string, len(list)), make([]string, len(list))
	delays := make([]*time.Duration, len(list))
	var submissions []Submission
	for i, w := range list {
		references[i] = w.Reference
		if w.Err != nil {
			failures[i] = clean(w.Err.Error())
		}
		if w.Delay > 0 {
			delays[i] = &w.Delay
		}
		if w.Submission != nil {
			submissions = append(submissions, *w.Submission)
		}
	}
	return s.writeAs(ctx, term, "note watches", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE watch w SET
				next_at = now() + coalesce(v.delay, w.every),
				checked_at = CASE WHEN v.error = '' THEN now() ELSE w.checked_at END,
				failures = CASE WHEN v.error = '' THEN 0 ELSE w.failures + 1 END,
				error = v.error
			FROM unnest($1::text[], $2::text[], $3::interval[]) AS v(reference, error, delay)
			WHERE w.reference = v.reference`, references, failures, delays)
		if err != nil || len(submissions) == 0 {
			return err
		}
		_, err = insertSubmissions(ctx, tx, submissions)
		return err
	})
}

// noteMoves records for references that were known, and now point at another image of a platform, that they moved. It
// comes before the tags are written.
const noteMoves = `
	INSERT INTO tag_move (reference, platform, old_image_id, new_image_id)
	SELECT v.reference, n.platform, o.id, n.id
	FROM (SELECT DISTINCT ON (reference) * FROM unnest($1::text[], $2::bytea[], $3::text[]) AS u(reference, digest, images) ORDER BY reference) v
	JOIN tag t ON t.reference = v.reference AND t.digest <> v.digest
	JOIN image n ON n.id = ANY(v.images::int[])
	JOIN image o ON o.id = ANY(t.image_ids) AND o.platform = n.platform AND o.id <> n.id`

// CompareMoves compares the findings of up to limit references that moved before and after, as soon as the new image has
// a result, under the leader's term. It returns how many it compared.
func (s *Store) CompareMoves(ctx context.Context, term int64, limit int) (int, error) {
	var n int
	err := s.writeAs(ctx, term, "compare moved tags", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			WITH move AS (
				SELECT m.id, o.inventory_id AS old_inventory, n.inventory_id AS new_inventory
				FROM tag_move m JOIN image n ON n.id = m.new_image_id LEFT JOIN image o ON o.id = m.old_image_id
				WHERE m.compared_at IS NULL AND n.state <> 0
				ORDER BY m.id LIMIT $1 FOR UPDATE OF m
			), compared AS (
				UPDATE tag_move m SET compared_at = now() FROM move WHERE m.id = move.id RETURNING m.id
			), side AS (
				SELECT DISTINCT ON (m.id, m.now, p.name, p.arch, v.source_id, v.name)
					m.id, m.now, p.name AS package, p.arch, p.version, v.source_id, v.name AS advisory,
					coalesce(nullif(a.severity, 0), v.severity) AS severity
				FROM (SELECT id, false AS now, old_inventory AS inventory FROM move UNION ALL SELECT id, true, new_inventory FROM move) m
				JOIN inventory i ON i.id = m.inventory
				JOIN package p ON p.id = ANY(i.package_ids)
				JOIN finding f ON f.release_id IN (p.release_id, p.source_release_id)
				JOIN affected a ON a.id = f.affected_id JOIN advisory v ON v.id = a.advisory_id
				ORDER BY m.id, m.now, p.name, p.arch, v.source_id, v.name, p.version, severity DESC
			), difference AS (
				INSERT INTO tag_change (move_id, package, arch, source_id, advisory, kind, installed, severity)
				SELECT id, package, arch, source_id, advisory, CASE WHEN bool_or(now) THEN 1 ELSE 2 END, min(version), max(severity)
				FROM side GROUP BY id, package, arch, source_id, advisory HAVING count(*) = 1
			)
			SELECT FROM compared`, limit)
		n = int(tag.RowsAffected())
		return err
	})
	return n, err
}

// TagChange is a finding that came or went when a reference moved.
type TagChange struct {
	Move      int64 // number of the move
	Reference string
	Platform  string
	At        time.Time
	Old, New  digest.Digest // of the images
	Gone      bool          // else new
	Package   string
	Arch      string
	Installed string // version: the new one, of a gone finding the old one
	Source    string
	Advisory  string
	Severity  advisory.Severity
}

// TagChanges returns up to limit changes of a reference, the newest move first.
func (s *Store) TagChanges(ctx context.Context, reference string, limit int) (out []TagChange, err error) {
	err = s.read(ctx, "read changes", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT m.id, m.reference, m.platform, m.at, o.digest, n.digest, c.kind = 2, c.package, c.arch, c.installed, s.name, c.advisory, c.severity
			FROM tag_move m JOIN tag_change c ON c.move_id = m.id JOIN source s ON s.id = c.source_id
			JOIN image o ON o.id = m.old_image_id JOIN image n ON n.id = m.new_image_id
			WHERE m.reference = $1 ORDER BY m.id DESC, c.severity DESC, c.package, c.arch, c.advisory LIMIT $2`, reference, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (TagChange, error) {
			var c TagChange
			var before, after []byte
			err := row.Scan(&c.Move, &c.Reference, &c.Platform, &c.At, &before, &after, &c.Gone, &c.Package, &c.Arch, &c.Installed, &c.Source, &c.Advisory, &c.Severity)
			if err == nil {
				c.Old, err = digest.FromBytes(before)
			}
			if err == nil {
				c.New, err = digest.FromBytes(after)
			}
			c.At = c.At.UTC()
			return c, err
		})
		return err
	})
	return out, err
}
