package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// UnsentLayers returns up to limit jobs for layers that ought to be with a worker and are not: never
// sent, parked until a time that has come, sent longer than overdue ago, or analyzed while images still
// wait for them. The longest waiting come first. asOf is when this was so, by the clock of the database; it is for
// [Store.MarkLayersSent].
func (s *Store) UnsentLayers(ctx context.Context, overdue time.Duration, limit int) (out []job.Layer, asOf time.Time, err error) {
	err = s.read(ctx, "find unsent layers", func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&asOf); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			WITH due AS (
				(SELECT id FROM layer
				WHERE state = 0 AND (not_before IS NULL OR not_before <= now()) ORDER BY not_before NULLS FIRST, id LIMIT $2)
				UNION ALL
				(SELECT id FROM layer WHERE state = 1 AND sent_at < now() - $1::interval ORDER BY sent_at LIMIT $2)
				UNION ALL
				(SELECT DISTINCT p.layer_id FROM pending_layer p JOIN layer l ON l.id = p.layer_id
				WHERE l.state >= 2 AND coalesce(l.sent_at, 'epoch') < now() - $1::interval LIMIT $2)
			)
			SELECT l.digest, l.media_type, l.size_bytes, l.inflated, l.prefix, l.lane, l.attempts,
				array(SELECT r.location FROM (
					SELECT DISTINCT unnest(i.repository_ids) AS id FROM (
						SELECT image_id FROM pending_layer p WHERE p.layer_id = l.id LIMIT 16) p
					JOIN image i ON i.id = p.image_id) w
				JOIN repository r USING (id) ORDER BY r.id DESC LIMIT $3)
			FROM due JOIN layer l USING (id)
			WHERE EXISTS (SELECT FROM pending_layer p WHERE p.layer_id = l.id)
			LIMIT $2`, overdue, limit, job.MaxRepositories)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (job.Layer, error) {
			var l job.Layer
			var sum []byte
			err := row.Scan(&sum, &l.MediaType, &l.Size, &l.Inflated, &l.Prefix, &l.Lane, &l.Attempt, &l.Repositories)
			if err == nil {
				l.Digest, err = digest.FromBytes(sum)
			}
			return l, err
		})
		return err
	})
	return out, asOf, err
}

// UnsentSubmissions returns up to limit jobs for submissions that ought to be with the coordinator and
// are not; see [Store.UnsentLayers].
func (s *Store) UnsentSubmissions(ctx context.Context, overdue time.Duration, limit int) (out []job.Image, asOf time.Time, err error) {
	err = s.read(ctx, "find unsent submissions", func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&asOf); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT id::text, lane, attempts FROM submission
			WHERE state = 0 AND (not_before IS NULL OR not_before <= now())
				AND (sent_at IS NULL OR sent_at < now() - $1::interval)
			ORDER BY lane DESC, id LIMIT $2`, overdue, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (job.Image, error) {
			var i job.Image
			err := row.Scan(&i.Submission, &i.Lane, &i.Attempt)
			return i, err
		})
		return err
	})
	return out, asOf, err
}

// Backlog counts unfinished work.
type Backlog struct {
	SubmissionsQueued int       // to be resolved, parked ones included
	SubmissionsParked int       // of them, waiting for a time
	ImagesPending     int       // that wait for layers
	LayersUnsent      int       // wanted, and no job is under way
	LayersParked      int       // of them, waiting for a time
	LayersSent        int       // with the workers
	LayersFailed      int       // given up
	Oldest            time.Time // submission not resolved; zero if none
}

// Backlog returns how much there is to do.
func (s *Store) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	err := s.read(ctx, "count backlog", func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT
				count(*), count(*) FILTER (WHERE not_before > now()), coalesce(min(created_at), 'epoch'),
				(SELECT count(DISTINCT image_id) FROM pending_layer),
				(SELECT count(*) FROM layer WHERE state = 0),
				(SELECT count(*) FROM layer WHERE state = 0 AND not_before > now()),
				(SELECT count(*) FROM layer WHERE state = 1),
				(SELECT count(*) FROM layer WHERE state = 3)
			FROM submission WHERE state = 0`).Scan(&b.SubmissionsQueued, &b.SubmissionsParked, &b.Oldest,
			&b.ImagesPending, &b.LayersUnsent, &b.LayersParked, &b.LayersSent, &b.LayersFailed)
		b.Oldest = fromEpoch(b.Oldest)
		return err
	})
	return b, err
}

// Totals counts what the database holds; large tables are estimated by Postgres.
type Totals struct {
	Images, Layers, Inventories, Packages, Releases, Advisories, Ranges, Findings int64
	Bytes                                                                         int64 // of the whole database
}

// Totals returns the size of things, cheaply.
func (s *Store) Totals(ctx context.Context) (Totals, error) {
	var t Totals
	err := s.read(ctx, "count rows", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT
				max(n) FILTER (WHERE relname = 'image'), max(n) FILTER (WHERE relname = 'layer'),
				max(n) FILTER (WHERE relname = 'inventory'), max(n) FILTER (WHERE relname = 'package'),
				max(n) FILTER (WHERE relname = 'release'), max(n) FILTER (WHERE relname = 'advisory'),
				max(n) FILTER (WHERE relname = 'affected'), max(n) FILTER (WHERE relname = 'finding'),
				pg_database_size(current_database())
			FROM (SELECT relname, coalesce(n_live_tup, 0) AS n FROM pg_stat_user_tables) t`).Scan(
			&t.Images, &t.Layers, &t.Inventories, &t.Packages, &t.Releases, &t.Advisories, &t.Ranges, &t.Findings, &t.Bytes)
	})
	return t, err
}

// ImagesOf returns the images that a reference pointed at when it was last resolved, and the digest it
// pointed at. A reference never resolved is a fault of kind NotFound.
func (s *Store) ImagesOf(ctx context.Context, reference string) (images []ImageProgress, target digest.Digest, err error) {
	err = s.read(ctx, "look up reference", func(tx pgx.Tx) error {
		var sum []byte
		var ids []int32
		err := tx.QueryRow(ctx, `SELECT digest, image_ids FROM tag WHERE reference = $1`, reference).Scan(&sum, &ids)
		if err != nil {
			return notFound(err, "look up reference", reference, "it has not been scanned")
		}
		if target, err = digest.FromBytes(sum); err != nil {
			return err
		}
		images, err = readProgress(ctx, tx, ids)
		return err
	})
	return images, target, err
}

// Image returns the progress of one image. One that is not there is a fault of kind NotFound.
func (s *Store) Image(ctx context.Context, image digest.Digest) (ImageProgress, error) {
	var out ImageProgress
	err := s.read(ctx, "read image", func(tx pgx.Tx) error {
		var id int32
		err := tx.QueryRow(ctx, `SELECT id FROM image WHERE digest = $1`, image.Bytes()).Scan(&id)
		if err != nil {
			return notFound(err, "read image", image.String(), "no such image has been submitted")
		}
		list, err := readProgress(ctx, tx, []int32{id})
		if err == nil {
			out = list[0]
		}
		return err
	})
	return out, err
}
