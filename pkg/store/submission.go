package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// SubmissionState says how far a submission got. The numbers are stored.
type SubmissionState uint8

// The states of a submission. Resolved means that its images are known; how far they are is told by
// the images.
const (
	Queued SubmissionState = iota
	Resolved
	Rejected // it could not be resolved, and will not be tried again
)

// Submission is a wish to have a target scanned.
type Submission struct {
	ID        string // UUID version 7
	Target    string // as asked for
	Title     string // what people call it; Target where empty
	Platforms []string
	Lane      job.Lane
	State     SubmissionState
	Attempts  int // to resolve it, that failed
	Created   time.Time
	NotBefore time.Time // parked until then; zero if not
	Reference string    // canonical, once resolved
	Digest    digest.Digest
	Images    []ImageProgress
	Skipped   []Skipped
	Problem   *Problem // of the last attempt that failed
}

// ImageProgress says how far one image is.
type ImageProgress struct {
	Digest    digest.Digest
	Platform  string
	State     ImageState
	Pending   int // layers still to be analyzed; 0 with State ImagePending: about to be completed
	Layers    int
	Bytes     int64 // compressed size of all layers, as far as known
	BytesRead int64 // of them
	// NotBefore is when the last of its layers that are parked is tried again, and Problem why it is. Zero and nil
	// where none is parked.
	NotBefore time.Time
	Problem   *Problem
}

// Skipped is a child of an index that is no image to scan, and why.
type Skipped struct {
	Digest   digest.Digest `json:"digest"`
	Platform string        `json:"platform,omitempty"`
	Reason   string        `json:"reason"`
	// Missed says that it is an image that was wanted and could not be read. Without it there was
	// nothing to read: an attestation, a signature, another platform.
	Missed bool `json:"missed,omitempty"`
}

// Problem is why something failed.
type Problem struct {
	Kind   string `json:"kind"` // of the fault, by name
	Reason string `json:"reason"`
}

// ProblemOf returns err as a Problem.
func ProblemOf(err error) *Problem {
	return &Problem{Kind: fault.KindOf(err).String(), Reason: clean(err.Error())}
}

// Done reports whether nothing more will happen to the submission by itself.
func (s *Submission) Done() bool {
	if s.State == Resolved {
		for _, image := range s.Images {
			if image.State == ImagePending || image.Pending > 0 {
				return false
			}
		}
	}
	return s.State != Queued
}

// Submit records submissions; the ones known by id already are left as they are. They count as not
// sent until [Store.MarkSent].
func (s *Store) Submit(ctx context.Context, submissions []Submission) error {
	_, err := s.Accept(ctx, submissions)
	return err
}

// Accept is [Store.Submit], and tells which of the submissions were not known before: by id, when each was recorded.
func (s *Store) Accept(ctx context.Context, submissions []Submission) (added map[string]time.Time, err error) {
	err = s.write(ctx, "record submissions", func(tx pgx.Tx) error {
		added, err = insertSubmissions(ctx, tx, submissions)
		return err
	})
	return added, err
}

func insertSubmissions(ctx context.Context, tx pgx.Tx, submissions []Submission) (map[string]time.Time, error) {
	ids, targets := make([]string, len(submissions)), make([]string, len(submissions))
	titles, platforms := make([]string, len(submissions)), make([]string, len(submissions))
	lanes := make([]int16, len(submissions))
	for i, sub := range submissions {
		ids[i], targets[i], titles[i], lanes[i] = sub.ID, clean(sub.Target), clean(sub.Title), int16(sub.Lane)
		platforms[i] = joinList(sub.Platforms)
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO submission (id, target, title, platforms, lane)
		SELECT id::uuid, target, title, string_to_array(platforms, ','), lane
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[])
			AS v(id, target, title, platforms, lane)
		ORDER BY id
		ON CONFLICT (id) DO NOTHING RETURNING id::text, created_at`, ids, targets, titles, platforms, lanes)
	if err != nil {
		return nil, err
	}
	added := make(map[string]time.Time)
	var id string
	var created time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &created}, func() error {
		added[id] = created
		return nil
	})
	return added, err
}

// MarkSubmissionsSent notes that jobs for these submissions are in Kafka. asOf is when they were found to be unsent, by the
// clock of the database. A submission that was parked since is left as it is: its job was answered already.
func (s *Store) MarkSubmissionsSent(ctx context.Context, asOf time.Time, ids []string) error {
	return s.write(ctx, "mark submissions sent", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			WITH v AS (
				SELECT id FROM submission WHERE id = ANY($1::uuid[]) AND (not_before IS NULL OR not_before <= $2)
				ORDER BY id FOR NO KEY UPDATE)
			UPDATE submission s SET sent_at = now() FROM v WHERE s.id = v.id`, ids, asOf)
		return err
	})
}

// QueuedSubmissions returns those of the given ids that are still to be resolved and not parked,
// in no order.
func (s *Store) QueuedSubmissions(ctx context.Context, ids []string) ([]Submission, error) {
	var out []Submission
	err := s.read(ctx, "read submissions", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id::text, target, title, platforms, lane, attempts
			FROM submission
			WHERE id = ANY($1::uuid[]) AND state = 0 AND (not_before IS NULL OR not_before <= now())`, ids)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Submission, error) {
			var sub Submission
			err := row.Scan(&sub.ID, &sub.Target, &sub.Title, &sub.Platforms, &sub.Lane, &sub.Attempts)
			return sub, err
		})
		return err
	})
	return out, err
}

// Submission returns one submission with the progress of its images. A submission that is not there
// is a fault of kind NotFound.
func (s *Store) Submission(ctx context.Context, id string) (*Submission, error) {
	var sub Submission
	err := s.read(ctx, "read submission", func(tx pgx.Tx) error {
		var imageIDs []int32
		var digestBytes []byte
		var notBefore *time.Time
		err := tx.QueryRow(ctx, `
			SELECT id::text, target, title, platforms, lane, state, attempts, created_at, not_before,
				reference, digest, image_ids, skipped, problem
			FROM submission WHERE id = $1::uuid`, id).Scan(
			&sub.ID, &sub.Target, &sub.Title, &sub.Platforms, &sub.Lane, &sub.State, &sub.Attempts,
			&sub.Created, &notBefore, &sub.Reference, &digestBytes, &imageIDs, &sub.Skipped, &sub.Problem)
		if err != nil {
			return notFound(err, "read submission", id, "there is no such submission")
		}
		if notBefore != nil {
			sub.NotBefore = *notBefore
		}
		if digestBytes != nil {
			if sub.Digest, err = digest.FromBytes(digestBytes); err != nil {
				return err
			}
		}
		sub.Images, err = readProgress(ctx, tx, imageIDs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &sub, nil
}

// readProgress returns the progress of images in the order of their ids as given.
func readProgress(ctx context.Context, tx pgx.Tx, imageIDs []int32) ([]ImageProgress, error) {
	rows, err := tx.Query(ctx, `
		SELECT i.digest, i.platform, i.state,
			(SELECT count(*) FROM pending_layer p JOIN layer l ON l.id = p.layer_id
				WHERE p.image_id = i.id AND l.state < 2),
			EXISTS (SELECT FROM pending_layer p WHERE p.image_id = i.id),
			cardinality(i.layer_ids),
			least(coalesce(sum(l.size_bytes), 0), 9223372036854775807)::bigint,
			least(coalesce(sum(CASE WHEN l.state >= 2 THEN l.size_bytes ELSE least(l.read_bytes, l.size_bytes) END), 0), 9223372036854775807)::bigint,
			coalesce(max(l.not_before) FILTER (WHERE l.state = 0 AND l.not_before > now()), 'epoch'),
			(array_agg(l.problem ORDER BY l.not_before DESC) FILTER (WHERE l.state = 0 AND l.not_before > now()))[1]
		FROM unnest($1::int[]) WITH ORDINALITY AS v(id, position)
		JOIN image i ON i.id = v.id
		LEFT JOIN layer l ON l.id = ANY(i.layer_ids)
		GROUP BY i.id, v.position ORDER BY v.position`, imageIDs)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (ImageProgress, error) {
		var p ImageProgress
		var sum []byte
		var waiting bool
		err := row.Scan(&sum, &p.Platform, &p.State, &p.Pending, &waiting, &p.Layers, &p.Bytes, &p.BytesRead, &p.NotBefore, &p.Problem)
		if err != nil {
			return p, err
		}
		if waiting && p.Pending == 0 {
			p.Pending = 1 // its layers are done; somebody has to put them together
		}
		p.NotBefore = fromEpoch(p.NotBefore)
		p.Digest, err = digest.FromBytes(sum)
		return p, err
	})
}

// A Postponement says that a submission could not be resolved now.
type Postponement struct {
	ID       string
	Attempts int // that have failed, this one included; being told to come back later is none
	Problem  *Problem
	Delay    time.Duration // until the next attempt
	Reject   bool          // there is none
}

// Postpone records attempts that failed, under the leader's term. Recording one twice counts it once.
func (s *Store) Postpone(ctx context.Context, term int64, list []Postponement) error {
	if len(list) == 0 {
		return nil
	}
	ids, problems := make([]string, len(list)), make([]*Problem, len(list))
	delays, reject := make([]time.Duration, len(list)), make([]bool, len(list))
	attempts := make([]int16, len(list))
	for i, p := range list {
		ids[i], problems[i], delays[i], reject[i], attempts[i] = p.ID, p.Problem, p.Delay, p.Reject, int16(p.Attempts)
	}
	return s.writeAs(ctx, term, "postpone submissions", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE submission s
			SET attempts = greatest(s.attempts, v.attempts), problem = v.problem, sent_at = NULL,
				not_before = CASE WHEN v.reject THEN NULL ELSE now() + v.delay END,
				state = CASE WHEN v.reject THEN 2 ELSE 0 END
			FROM unnest($1::text[], $2::jsonb[], $3::interval[], $4::bool[], $5::smallint[]) AS v(id, problem, delay, reject, attempts)
			WHERE s.id = v.id::uuid AND s.state = 0`, ids, problems, delays, reject, attempts)
		return err
	})
}
