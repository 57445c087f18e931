package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// Matter is a submission or a layer that somebody may want to look at.
type Matter struct {
	Kind       string        // [job.KindImage] for a submission, [job.KindLayer]
	Submission string        // its id; "" for a layer
	Layer      digest.Digest // zero for a submission
	Target     string        // of a submission; of a layer a repository that has it, "" where none is known
	Lane       job.Lane
	Attempts   int       // that failed
	Since      time.Time // it was sent, or made; zero where not known
	Until      time.Time // it is parked; zero if it is not
	Problem    *Problem  // of the last attempt that failed
}

// Attention is what somebody may want to look at: of each kind the first, up to a limit.
type Attention struct {
	Parked            []Matter // waiting for a time, the next first
	Failed            []Matter // given up
	Stuck             []Matter // that ought to have gone on, the oldest first
	SubmissionsFailed int      // all that were given up
}

// attentionQueries list matters. $1 is the limit, $2 how long a job may be under way. A job of the bulk lane may be so
// twice as long: what is overdue is sent again, and only what nobody sends again is stuck.
var attentionQueries = []struct {
	into  func(*Attention) *[]Matter
	query string
}{
	{func(a *Attention) *[]Matter { return &a.Parked }, `
		(SELECT ` + submissionMatter + ` FROM submission s WHERE s.state = 0 AND s.not_before > now() ORDER BY s.not_before LIMIT $1)
		UNION ALL
		(SELECT ` + layerMatter + ` FROM layer l WHERE l.state = 0 AND l.not_before > now() ORDER BY l.not_before LIMIT $1)
		ORDER BY until LIMIT $1`},
	{func(a *Attention) *[]Matter { return &a.Failed }, `
		(SELECT ` + submissionMatter + ` FROM submission s WHERE s.state = 2 ORDER BY s.id DESC LIMIT $1)
		UNION ALL
		(SELECT ` + layerMatter + ` FROM layer l WHERE l.state = 3 ORDER BY l.id DESC LIMIT $1)
		LIMIT $1`},
	{func(a *Attention) *[]Matter { return &a.Stuck }, `
		(SELECT ` + submissionMatter + ` FROM submission s
		WHERE s.state = 0 AND (s.not_before IS NULL OR s.not_before <= now())
			AND coalesce(s.sent_at, s.created_at) < now() - $2::interval * (2 - s.lane)
		ORDER BY coalesce(s.sent_at, s.created_at) LIMIT $1)
		UNION ALL
		(SELECT ` + layerMatter + ` FROM layer l WHERE l.state = 1 AND l.sent_at < now() - $2::interval * (2 - l.lane)
		ORDER BY l.sent_at LIMIT $1)
		ORDER BY since LIMIT $1`},
}

const (
	submissionMatter = `s.id::text AS submission, NULL::bytea AS layer, s.target, s.lane, s.attempts,
		coalesce(s.sent_at, s.created_at) AS since, s.not_before AS until, s.problem`
	layerMatter = `'' AS submission, l.digest AS layer,
		coalesce((SELECT r.location FROM pending_layer p JOIN image i ON i.id = p.image_id JOIN repository r ON r.id = i.repository_ids[1]
			WHERE p.layer_id = l.id LIMIT 1), ''),
		l.lane, l.attempts, l.sent_at AS since, l.not_before AS until, l.problem`
)

// Attention lists what is parked, given up and stuck, up to limit of each. overdue is how long a job may be under way.
func (s *Store) Attention(ctx context.Context, overdue time.Duration, limit int) (Attention, error) {
	var out Attention
	err := s.read(ctx, "list what wants attention", func(tx pgx.Tx) error {
		for _, q := range attentionQueries {
			args := []any{limit, overdue}
			rows, err := tx.Query(ctx, "WITH given AS (SELECT $1::int, $2::interval) "+q.query, args...)
			if err != nil {
				return err
			}
			if *q.into(&out), err = pgx.CollectRows(rows, scanMatter); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, `SELECT count(*) FROM submission WHERE state = 2`).Scan(&out.SubmissionsFailed)
	})
	return out, err
}

func scanMatter(row pgx.CollectableRow) (m Matter, err error) {
	var sum []byte
	var since, until *time.Time
	err = row.Scan(&m.Submission, &sum, &m.Target, &m.Lane, &m.Attempts, &since, &until, &m.Problem)
	if err != nil {
		return m, err
	}
	m.Kind = job.KindImage
	if sum != nil {
		m.Kind = job.KindLayer
		m.Layer, err = digest.FromBytes(sum)
	}
	if since != nil {
		m.Since = since.UTC()
	}
	if until != nil {
		m.Until = until.UTC()
	}
	return m, err
}

// Done counts what was brought to an end lately.
type Done struct {
	Images, Layers int64
}

// Rates counts the images that got a result and the layers that were analyzed within each of the times before now.
func (s *Store) Rates(ctx context.Context, within ...time.Duration) ([]Done, error) {
	out := make([]Done, len(within))
	err := s.read(ctx, "measure rates", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT (SELECT count(*) FROM image WHERE completed_at > now() - w.d), (SELECT count(*) FROM layer WHERE analyzed_at > now() - w.d)
			FROM unnest($1::interval[]) WITH ORDINALITY AS w(d, n) ORDER BY n`, within)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Done, err error) {
			return d, row.Scan(&d.Images, &d.Layers)
		})
		return err
	})
	return out, err
}
