package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// layerState says how far a layer is. The numbers are stored.
type layerState uint8

const (
	layerWanted   layerState = iota // no job is under way; it may be parked
	layerSent                       // a job is in Kafka, or was
	layerAnalyzed                   // content says what is in it
	layerFailed                     // it was given up
)

// String returns the name that reports use.
func (s layerState) String() string {
	switch s {
	case layerAnalyzed:
		return "analyzed"
	case layerFailed:
		return "failed"
	}
	return "pending"
}

// anyExtractor is the extractor version of a layer that is right for all of them.
const anyExtractor = 32767

// LayerResult is the outcome of one attempt at one layer.
type LayerResult struct {
	Digest    digest.Digest
	Extractor int
	// Content is what the layer says. It is nil when the attempt failed, or found the layer analyzed
	// already: then only the images that wait for it are completed.
	Content  *inventory.Layer
	RawBytes int64 // inflated size
	// Attempt is how many attempts had failed before this one, as [job.Layer.Attempt].
	Attempt int
	// Problem is why the attempt failed, or nil.
	Problem *Problem
	Retry   bool          // try again, unless [job.MaxAttempts] have failed
	Delay   time.Duration // before the next attempt
}

// tried returns how many attempts have failed after this one, which failed. Being told to come back later
// is no failure: a registry's limit of pulls lasts for hours.
func (r LayerResult) tried() int {
	if r.Problem.Kind == fault.RateLimited.String() {
		return r.Attempt
	}
	return r.Attempt + 1
}

// Committed is what a call of [Store.CommitLayers] brought to an end.
type Committed struct {
	Images   []CompletedImage
	Dead     map[digest.Digest]int // layers given up, with the number of attempts
	Releases int                   // that were new
	Findings int                   // that the new releases made
}

// CompletedImage is an image that has its result now.
type CompletedImage struct {
	ID     int32
	Digest digest.Digest
	State  ImageState
}

// completionLimit bounds the images that one transaction completes, and so its memory and time.
const completionLimit = 256

// CommitLayers stores the results of attempts, and completes every image that waited for nothing else:
// squashes its layers, stores its inventory, and correlates the releases that are new. What one layer's
// result changes is in one transaction with that result, except that a layer for which more than a few
// hundred images wait completes them in several; a process that dies between two of them leaves the
// rest to [Store.UnsentLayers].
//
// Results for a layer that was analyzed meanwhile by the same extractor are dropped: they are the same. An
// attempt that failed counts once, however often it is committed.
//
// An image whose result the database refuses is given one that says so, and does not stop the others.
func (s *Store) CommitLayers(ctx context.Context, results []LayerResult) (Committed, error) {
	results = lastOfEach(results)
	out := Committed{Dead: make(map[digest.Digest]int)}
	for first := true; ; first = false {
		part, more, err := s.commitPart(ctx, results, first, false)
		if refused(err) {
			part, more, err = s.commitPart(ctx, results, first, true)
		}
		if err != nil {
			return out, err
		}
		out.Images = append(out.Images, part.Images...)
		out.Releases += part.Releases
		out.Findings += part.Findings
		for d, attempts := range part.Dead {
			out.Dead[d] = attempts
		}
		if !more {
			return out, nil
		}
	}
}

// commitPart is one transaction of CommitLayers, which completes at most completionLimit images.
func (s *Store) commitPart(ctx context.Context, results []LayerResult, first, apart bool) (part Committed, more bool, err error) {
	err = s.write(ctx, "commit layers", func(tx pgx.Tx) error {
		part = Committed{Dead: make(map[digest.Digest]int)}
		c := &commit{tx: tx, out: &part, apart: apart}
		var err error
		more, err = c.run(ctx, results, first)
		return err
	})
	return part, more, err
}

// lastOfEach drops all but one result of each layer, a success where there is one.
func lastOfEach(results []LayerResult) []LayerResult {
	best := make(map[digest.Digest]LayerResult, len(results))
	for _, r := range results {
		if old, ok := best[r.Digest]; !ok || old.Problem != nil {
			best[r.Digest] = r
		}
	}
	out := make([]LayerResult, 0, len(best))
	for _, r := range best {
		out = append(out, r)
	}
	return out
}

// commit is the state of one transaction of CommitLayers.
type commit struct {
	tx    pgx.Tx
	out   *Committed
	apart bool // complete each image by itself, so that one that is refused does not stop the others
}

// run reports whether images are left that wait for these layers and could be completed.
func (c *commit) run(ctx context.Context, results []LayerResult, first bool) (more bool, err error) {
	if first {
		if err := c.storeResults(ctx, results); err != nil {
			return false, err
		}
	}
	digests := make([]digest.Digest, len(results))
	for i, r := range results {
		digests[i] = r.Digest
	}
	images, err := c.takeEdges(ctx, digests)
	if err != nil || len(images) == 0 {
		return false, err
	}
	completed, err := completeImages(ctx, c.tx, distinct(images), c.apart)
	if err != nil {
		return false, err
	}
	c.out.Images = completed.Images
	c.out.Releases, c.out.Findings = completed.Releases, completed.Findings
	return len(images) == completionLimit, nil
}

// storeResults writes what the attempts brought, having locked the layers in order.
func (c *commit) storeResults(ctx context.Context, results []LayerResult) error {
	n := len(results)
	digests, contents := make([][]byte, n), make([][]byte, n)
	extractors, raw := make([]int16, n), make([]int64, n)
	problems, retry, delays := make([]any, n), make([]bool, n), make([]time.Duration, n)
	known, tried := make([]bool, n), make([]int16, n)
	for i, r := range results {
		digests[i], extractors[i], raw[i] = r.Digest.Bytes(), int16(r.Extractor), r.RawBytes
		retry[i], delays[i] = r.Retry, r.Delay
		known[i] = r.Problem == nil && r.Content == nil
		if r.Problem != nil {
			text, err := jsonText(r.Problem)
			if err != nil {
				return err
			}
			problems[i], tried[i] = text, int16(r.tried())
		}
		if r.Content != nil && !r.Content.IsEmpty() {
			var err error
			if contents[i], err = r.Content.Marshal(); err != nil {
				return err
			}
		}
	}
	rows, err := c.tx.Query(ctx, `
		WITH v AS (
			SELECT l.id, v.*, greatest(l.attempts, v.tried) AS attempts,
				v.problem IS NOT NULL AND v.retry AND greatest(l.attempts, v.tried) < $10 AS again
			FROM unnest($1::bytea[], $2::bytea[], $3::smallint[], $4::bigint[], $5::text[]::jsonb[], $6::bool[], $7::interval[], $8::bool[], $11::smallint[])
				AS v(digest, content, extractor, raw, problem, retry, delay, known, tried)
			JOIN layer l USING (digest)
			WHERE NOT v.known AND (l.state <> 2 OR l.extractor NOT IN (v.extractor, $9))
			ORDER BY l.id FOR NO KEY UPDATE OF l)
		UPDATE layer l SET
			state = CASE WHEN v.problem IS NULL THEN 2 WHEN v.again THEN 0 ELSE 3 END,
			attempts = v.attempts,
			extractor = CASE WHEN v.problem IS NULL THEN v.extractor ELSE l.extractor END,
			content = CASE WHEN v.problem IS NULL THEN v.content ELSE l.content END,
			raw_bytes = CASE WHEN v.problem IS NULL THEN v.raw ELSE l.raw_bytes END,
			read_bytes = 0,
			sent_at = NULL, -- no job is under way any more; what still waits for the layer, the sweep finds at once
			analyzed_at = CASE WHEN v.problem IS NULL THEN now() END,
			not_before = CASE WHEN v.again THEN now() + v.delay END,
			problem = v.problem
		FROM v WHERE l.id = v.id
		RETURNING l.digest, l.state, l.attempts`,
		digests, contents, extractors, raw, problems, retry, delays, known, anyExtractor, job.MaxAttempts, tried)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var sum []byte
		var state layerState
		var attempts int
		if err := rows.Scan(&sum, &state, &attempts); err != nil {
			return err
		}
		if state == layerFailed {
			d, err := digest.FromBytes(sum)
			if err != nil {
				return err
			}
			c.out.Dead[d] = attempts
		}
	}
	return rows.Err()
}

// takeEdges takes away edges of the layers that are finished, and returns the images that waited.
func (c *commit) takeEdges(ctx context.Context, layers []digest.Digest) ([]int32, error) {
	rows, err := c.tx.Query(ctx, `
		WITH v AS (
			SELECT p.layer_id, p.image_id FROM pending_layer p JOIN layer l ON l.id = p.layer_id
			WHERE l.digest = ANY($1) AND l.state >= 2
			ORDER BY p.layer_id, p.image_id LIMIT $2 FOR UPDATE OF p)
		DELETE FROM pending_layer p USING v
		WHERE p.layer_id = v.layer_id AND p.image_id = v.image_id
		RETURNING p.image_id`, sums(layers), completionLimit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

// Analyzed returns those of the layers that are analyzed by this version of the extractor.
func (s *Store) Analyzed(ctx context.Context, extractor int, layers []digest.Digest) (map[digest.Digest]bool, error) {
	known := make(map[digest.Digest]bool)
	err := s.read(ctx, "look up layers", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id, digest FROM layer WHERE digest = ANY($1) AND state = 2 AND extractor IN ($2, $3)`,
			sums(layers), extractor, anyExtractor)
		found, err := collectIDs(rows, err, scanDigest)
		for d := range found {
			known[d] = true
		}
		return err
	})
	return known, err
}

// Progress notes how many compressed bytes have been read of layers under way, for progress bars.
func (s *Store) Progress(ctx context.Context, read map[digest.Digest]int64) error {
	digests, counts := make([]digest.Digest, 0, len(read)), make([]int64, 0, len(read))
	for d, n := range read {
		digests, counts = append(digests, d), append(counts, n)
	}
	return s.write(ctx, "note progress", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			WITH v AS (
				SELECT l.id, v.read FROM unnest($1::bytea[], $2::bigint[]) AS v(digest, read)
				JOIN layer l USING (digest) WHERE l.state < 2
				ORDER BY l.id FOR NO KEY UPDATE OF l SKIP LOCKED)
			UPDATE layer l SET read_bytes = v.read FROM v WHERE l.id = v.id`, sums(digests), counts)
		return err
	})
}
