package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Requeue says which submissions and layers that were given up are to be tried again: all that fit one of its fields. Its
// zero value fits none.
type Requeue struct {
	// All fits all.
	All bool
	// Digests fit layers, and the layers of images.
	Digests []digest.Digest
	// References fit submissions as they were asked for or in canonical form, and the layers of the images that they point at.
	References []string
	// Reason fits what failed for a reason that has this in it, in whatever case. "" fits nothing.
	Reason string
	// DryRun changes nothing.
	DryRun bool
	// Limit bounds how many of each kind one call takes; the first come first. Zero means [RequeueLimit].
	Limit int
}

// RequeueLimit is how many of each kind one call of [Store.Requeue] takes where it is not told.
const RequeueLimit = 10_000

// Requeue gives submissions and layers that were given up their attempts back, and has images wait for these layers
// again; until they have a new result their old one stays. The sweep of the coordinator sends them. It returns what it
// changed, or would change.
//
// A filter that fits everything or nothing by accident is refused: the error is a [fault.Invalid] where no field is set.
func (s *Store) Requeue(ctx context.Context, r Requeue) (submissions, layers []Matter, err error) {
	if !r.All && len(r.Digests) == 0 && len(r.References) == 0 && r.Reason == "" {
		return nil, nil, fault.Newf(fault.Invalid, "requeue", "", "it is not said what: all, digests, references or a reason")
	}
	if r.Limit <= 0 {
		r.Limit = RequeueLimit
	}
	err = s.write(ctx, "requeue", func(tx pgx.Tx) (err error) {
		if submissions, err = requeueSubmissions(ctx, tx, r); err != nil {
			return err
		}
		layers, err = requeueLayers(ctx, tx, r)
		return err
	})
	return submissions, layers, err
}

func requeueSubmissions(ctx context.Context, tx pgx.Tx, r Requeue) ([]Matter, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+submissionMatter+` FROM submission s
		WHERE s.state = 2 AND ($1 OR s.target = ANY($2) OR s.title = ANY($2) OR s.reference = ANY($2)
			OR $3 <> '' AND strpos(lower(s.problem->>'reason'), lower($3)) > 0)
		ORDER BY s.id LIMIT $4 FOR NO KEY UPDATE`, r.All, notNil(r.References), r.Reason, r.Limit)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scanMatter)
	if err != nil || r.DryRun || len(found) == 0 {
		return found, err
	}
	ids := make([]string, len(found))
	for i, m := range found {
		ids[i] = m.Submission
	}
	_, err = tx.Exec(ctx, `
		UPDATE submission SET state = 0, attempts = 0, problem = NULL, sent_at = NULL, not_before = NULL
		WHERE id = ANY($1::text[]::uuid[])`, ids)
	return found, err
}

func requeueLayers(ctx context.Context, tx pgx.Tx, r Requeue) ([]Matter, error) {
	rows, err := tx.Query(ctx, `
		WITH images AS (
			SELECT unnest(layer_ids) AS layer FROM image WHERE digest = ANY($2)
			UNION
			SELECT unnest(i.layer_ids) FROM tag t JOIN image i ON i.id = ANY(t.image_ids) WHERE t.reference = ANY($3)
			UNION
			SELECT unnest(i.layer_ids) FROM submission s JOIN image i ON i.id = ANY(s.image_ids)
			WHERE s.target = ANY($3) OR s.title = ANY($3) OR s.reference = ANY($3))
		SELECT `+layerMatter+`, l.id FROM layer l
		WHERE l.state = 3 AND ($1 OR l.digest = ANY($2) OR l.id IN (SELECT layer FROM images)
			OR $4 <> '' AND strpos(lower(l.problem->>'reason'), lower($4)) > 0)
		ORDER BY l.id LIMIT $5 FOR NO KEY UPDATE OF l`, r.All, sums(r.Digests), notNil(r.References), r.Reason, r.Limit)
	if err != nil {
		return nil, err
	}
	var ids []int32
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Matter, error) {
		id, m, err := scanNumbered(row)
		ids = append(ids, id)
		return m, err
	})
	if err != nil || r.DryRun || len(ids) == 0 {
		return found, err
	}
	slices.Sort(ids)
	batch := &pgx.Batch{}
	batch.Queue(`
		INSERT INTO pending_layer (layer_id, image_id)
		SELECT DISTINCT e.layer, i.id FROM image i, unnest(i.layer_ids) AS e(layer)
		WHERE i.layer_ids && $1::int[] AND e.layer = ANY($1)
		ORDER BY 1, 2 ON CONFLICT DO NOTHING`, ids)
	batch.Queue(`
		UPDATE layer SET state = 0, attempts = 0, sent_at = NULL, not_before = NULL, read_bytes = 0, problem = NULL
		WHERE id = ANY($1)`, ids)
	return found, tx.SendBatch(ctx, batch).Close()
}

// scanNumbered reads a matter with the number of its row behind it.
func scanNumbered(row pgx.CollectableRow) (id int32, m Matter, err error) {
	m, err = scanMatter(numbered{row, &id})
	return id, m, err
}

// numbered is a row with one more column than its reader knows.
type numbered struct {
	pgx.CollectableRow
	id *int32
}

// Scan implements [pgx.CollectableRow].
func (n numbered) Scan(dest ...any) error { return n.CollectableRow.Scan(append(dest, n.id)...) }
