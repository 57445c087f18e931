package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// Resolution is what a submission turned out to mean.
type Resolution struct {
	Submission string // id
	Reference  string // canonical
	Repository string // where the layers can be opened
	Digest     digest.Digest
	Images     []ResolvedImage
	Skipped    []Skipped
	Lane       job.Lane
}

// ResolvedImage is one image of a resolution.
type ResolvedImage struct {
	Digest   digest.Digest
	Platform string
	Built    time.Time // zero if not told
	Layers   []job.Layer
}

// Dispatch is what a batch of resolutions asks for.
type Dispatch struct {
	// Send are the layers to be analyzed, and layers already analyzed for which an image waits that
	// has all its layers: whoever gets such a job completes the image.
	Send []job.Layer
	// AsOf is when that was so, by the clock of the database; it is for [Store.MarkLayersSent].
	AsOf time.Time
	// Known counts layer references that ask for no work.
	Known int
}

// RecordResolutions records images, layers and what waits for what, under the leader's term, and
// returns the jobs to send. They count as not sent until [Store.MarkLayersSent]; a leader that dies
// in between leaves them to the next one's [Store.UnsentLayers].
//
// A layer that failed before, or was analyzed by another version of the extractor, is analyzed again;
// images that have a result keep it until the new one is there.
func (s *Store) RecordResolutions(ctx context.Context, term int64, extractor int, batch []Resolution) (Dispatch, error) {
	var out Dispatch
	err := s.writeAs(ctx, term, "record images", func(tx pgx.Tx) error {
		r := &recording{tx: tx, extractor: extractor, batch: batch}
		var err error
		out, err = r.run(ctx)
		return err
	})
	return out, err
}

// recording is the state of one RecordResolutions.
type recording struct {
	tx        pgx.Tx
	extractor int
	batch     []Resolution

	repositories map[string]int32
	layers       map[digest.Digest]*layerRow
	images       map[digest.Digest]int32
	added        map[int32]bool // images that this call inserted
}

// layerRow is a layer in the database and what the batch wants of it.
type layerRow struct {
	id        int32
	state     layerState
	extractor int
	attempts  int
	due       bool
	sentLane  job.Lane
	wanted    job.Layer
	send      bool
}

func (r *recording) run(ctx context.Context) (Dispatch, error) {
	for _, step := range []func(context.Context) error{
		r.ensureRepositories, r.ensureLayers, r.lockLayers, r.ensureImages, r.connect, r.finishSubmissions,
	} {
		if err := step(ctx); err != nil {
			return Dispatch{}, err
		}
	}
	var out Dispatch
	if err := r.tx.QueryRow(ctx, `SELECT now()`).Scan(&out.AsOf); err != nil {
		return Dispatch{}, err
	}
	for _, layer := range r.layers {
		if layer.send {
			out.Send = append(out.Send, layer.wanted)
		} else {
			out.Known++
		}
	}
	return out, nil
}

func (r *recording) ensureRepositories(ctx context.Context) error {
	var locations []string
	for _, resolution := range r.batch {
		locations = append(locations, resolution.Repository)
	}
	var err error
	r.repositories, _, err = repositories.ensure(ctx, r.tx, distinct(locations))
	return err
}

var repositories = lexicon[string]{
	compare: cmp.Compare[string],
	find: func(ctx context.Context, tx pgx.Tx, keys []string) (map[string]int32, error) {
		rows, err := tx.Query(ctx, `SELECT id, location FROM repository WHERE location = ANY($1)`, keys)
		return collectIDs(rows, err, scanText)
	},
	insert: func(ctx context.Context, tx pgx.Tx, keys []string) (map[string]int32, error) {
		rows, err := tx.Query(ctx, `
			INSERT INTO repository (location) SELECT unnest($1::text[])
			ON CONFLICT DO NOTHING RETURNING id, location`, keys)
		return collectIDs(rows, err, scanText)
	},
}

func scanText(row pgx.Rows, id *int32) (key string, err error) {
	err = row.Scan(id, &key)
	return key, err
}

func scanDigest(row pgx.Rows, id *int32) (digest.Digest, error) {
	var sum []byte
	if err := row.Scan(id, &sum); err != nil {
		return digest.Digest{}, err
	}
	return digest.FromBytes(sum)
}

// ensureLayers makes sure that every layer of the batch has a row. The empty layer is inserted as
// analyzed, for good: it is never worth a request.
func (r *recording) ensureLayers(ctx context.Context) error {
	r.layers = make(map[digest.Digest]*layerRow)
	var keys []digest.Digest
	for _, resolution := range r.batch {
		for _, image := range resolution.Images {
			for _, layer := range image.Layers {
				known := r.layers[layer.Digest]
				if known == nil {
					layer.Repositories = nil
					known = &layerRow{wanted: layer}
					r.layers[layer.Digest] = known
					keys = append(keys, layer.Digest)
				}
				w := &known.wanted
				w.Lane = max(w.Lane, resolution.Lane)
				if len(w.Repositories) < job.MaxRepositories && !slices.Contains(w.Repositories, resolution.Repository) {
					w.Repositories = append(w.Repositories, resolution.Repository)
				}
			}
		}
	}
	table := lexicon[digest.Digest]{find: findLayers, insert: r.insertLayers, compare: digest.Digest.Compare}
	ids, _, err := table.ensure(ctx, r.tx, keys)
	for d, id := range ids {
		r.layers[d].id = id
	}
	return err
}

func findLayers(ctx context.Context, tx pgx.Tx, keys []digest.Digest) (map[digest.Digest]int32, error) {
	rows, err := tx.Query(ctx, `SELECT id, digest FROM layer WHERE digest = ANY($1)`, sums(keys))
	return collectIDs(rows, err, scanDigest)
}

func (r *recording) insertLayers(ctx context.Context, tx pgx.Tx, keys []digest.Digest) (map[digest.Digest]int32, error) {
	n := len(keys)
	states, extractors := make([]int16, n), make([]int16, n)
	inflated, prefixes := make([]bool, n), make([]string, n)
	mediaTypes, sizes := make([]string, n), make([]int64, n)
	for i, d := range keys {
		w := r.layers[d].wanted
		inflated[i], prefixes[i], mediaTypes[i], sizes[i] = w.Inflated, clean(w.Prefix), clean(w.MediaType), w.Size
		if d.IsEmptyLayer() {
			states[i], extractors[i] = int16(layerAnalyzed), anyExtractor
		}
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO layer (digest, state, extractor, inflated, prefix, media_type, size_bytes)
		SELECT * FROM unnest($1::bytea[], $2::smallint[], $3::smallint[], $4::bool[], $5::text[], $6::text[], $7::bigint[])
		ON CONFLICT DO NOTHING RETURNING id, digest`,
		sums(keys), states, extractors, inflated, prefixes, mediaTypes, sizes)
	return collectIDs(rows, err, scanDigest)
}

// lockLayers reads the layers' states, and locks those that are not finished. A worker that finishes
// one of these waits until the edges of this transaction can be seen, and then takes them away.
func (r *recording) lockLayers(ctx context.Context) error {
	byID := make(map[int32]*layerRow)
	var ids []int32
	for _, layer := range r.layers {
		byID[layer.id] = layer
		ids = append(ids, layer.id)
	}
	read := func(query string, args ...any) error {
		rows, err := r.tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id int32
			var row layerRow
			if err := rows.Scan(&id, &row.state, &row.extractor, &row.attempts, &row.due, &row.sentLane); err != nil {
				return err
			}
			known := byID[id]
			known.state, known.extractor, known.attempts = row.state, row.extractor, row.attempts
			known.due, known.sentLane = row.due, row.sentLane
		}
		return rows.Err()
	}
	const columns = `id, state, extractor, attempts, not_before IS NULL OR not_before <= now(), lane`
	if err := read(`SELECT `+columns+` FROM layer WHERE id = ANY($1)`, ids); err != nil {
		return err
	}
	var unfinished []int32
	for id, layer := range byID {
		if layer.unfinished(r.extractor) {
			unfinished = append(unfinished, id)
		}
	}
	if len(unfinished) == 0 {
		return nil
	}
	return read(`SELECT `+columns+` FROM layer WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, unfinished)
}

// unfinished reports whether the layer is to be analyzed: it never was, or by another version of the
// extractor, or it failed and somebody asks again.
func (l *layerRow) unfinished(extractor int) bool {
	return l.state != layerAnalyzed || (l.extractor != extractor && l.extractor != anyExtractor)
}

func (r *recording) ensureImages(ctx context.Context) error {
	wanted := make(map[digest.Digest]ResolvedImage)
	home := make(map[digest.Digest]Resolution)
	var keys []digest.Digest
	for _, resolution := range r.batch {
		for _, image := range resolution.Images {
			if _, ok := wanted[image.Digest]; !ok {
				keys = append(keys, image.Digest)
			}
			wanted[image.Digest], home[image.Digest] = image, resolution
		}
	}
	table := lexicon[digest.Digest]{
		compare: digest.Digest.Compare,
		find: func(ctx context.Context, tx pgx.Tx, keys []digest.Digest) (map[digest.Digest]int32, error) {
			rows, err := tx.Query(ctx, `SELECT id, digest FROM image WHERE digest = ANY($1)`, sums(keys))
			return collectIDs(rows, err, scanDigest)
		},
		insert: func(ctx context.Context, tx pgx.Tx, keys []digest.Digest) (map[digest.Digest]int32, error) {
			return r.insertImages(ctx, keys, wanted, home)
		},
	}
	var added []int32
	var err error
	if r.images, added, err = table.ensure(ctx, r.tx, keys); err != nil {
		return err
	}
	r.added = make(map[int32]bool)
	for _, id := range added {
		r.added[id] = true
	}
	return r.witness(ctx, home)
}

func (r *recording) insertImages(ctx context.Context, keys []digest.Digest, wanted map[digest.Digest]ResolvedImage, home map[digest.Digest]Resolution) (map[digest.Digest]int32, error) {
	n := len(keys)
	platforms, lanes, built := make([]string, n), make([]int16, n), make([]*time.Time, n)
	repos, layers := make([]int32, n), make([]string, n)
	for i, d := range keys {
		image := wanted[d]
		platforms[i], lanes[i] = clean(image.Platform), int16(home[d].Lane)
		repos[i] = r.repositories[home[d].Repository]
		if !image.Built.IsZero() {
			built[i] = &image.Built
		}
		layers[i] = intArray(r.layerIDs(image))
	}
	rows, err := r.tx.Query(ctx, `
		INSERT INTO image (digest, platform, lane, built_at, repository_ids, layer_ids)
		SELECT digest, platform, lane, built, ARRAY[repository], layers::int[]
		FROM unnest($1::bytea[], $2::text[], $3::smallint[], $4::timestamptz[], $5::int[], $6::text[])
			AS v(digest, platform, lane, built, repository, layers)
		ON CONFLICT DO NOTHING RETURNING id, digest`,
		sums(keys), platforms, lanes, built, repos, layers)
	return collectIDs(rows, err, scanDigest)
}

func (r *recording) layerIDs(image ResolvedImage) []int32 {
	ids := make([]int32, len(image.Layers))
	for i, layer := range image.Layers {
		ids[i] = r.layers[layer.Digest].id
	}
	return ids
}

// witness notes for images that were known that they were seen in one more repository.
func (r *recording) witness(ctx context.Context, home map[digest.Digest]Resolution) error {
	var images, repos []int32
	for d, id := range r.images {
		if !r.added[id] {
			images = append(images, id)
			repos = append(repos, r.repositories[home[d].Repository])
		}
	}
	if len(images) == 0 {
		return nil
	}
	_, err := r.tx.Exec(ctx, `
		WITH v AS (
			SELECT i.id, v.repository FROM unnest($1::int[], $2::int[]) AS v(id, repository)
			JOIN image i USING (id)
			WHERE NOT i.repository_ids @> ARRAY[v.repository]
			ORDER BY i.id FOR NO KEY UPDATE OF i)
		UPDATE image i SET repository_ids = (v.repository || i.repository_ids)[1:$3]
		FROM v WHERE i.id = v.id`, images, repos, job.MaxRepositories)
	return err
}

// connect writes the edges of what waits for what, and decides which layers are sent.
func (r *recording) connect(ctx context.Context) error {
	var edgeLayers, edgeImages, reset, recall, hurry []int32
	seen := make(map[int32]bool)
	for _, resolution := range r.batch {
		for _, image := range resolution.Images {
			id := r.images[image.Digest]
			if seen[id] {
				continue
			}
			seen[id] = true
			var waits int
			for _, l := range image.Layers {
				layer := r.layers[l.Digest]
				if layer.unfinished(r.extractor) {
					edgeLayers, edgeImages = append(edgeLayers, layer.id), append(edgeImages, id)
					waits++
				}
			}
			if waits == 0 && r.added[id] && len(image.Layers) > 0 {
				top := r.layers[image.Layers[len(image.Layers)-1].Digest]
				edgeLayers, edgeImages = append(edgeLayers, top.id), append(edgeImages, id)
				recall = append(recall, top.id)
				top.send = true
			}
		}
	}
	for _, layer := range r.layers {
		if !layer.unfinished(r.extractor) {
			continue
		}
		switch {
		case layer.state >= layerAnalyzed: // failed, or outdated
			reset = append(reset, layer.id)
			layer.send = true
		case layer.state == layerWanted && layer.due:
			layer.send = true
		case layer.wanted.Lane > layer.sentLane && layer.due:
			layer.send = true // it waits in the slow lane: send it once more, in the fast one
		}
		if layer.state < layerAnalyzed {
			layer.wanted.Attempt = layer.attempts
		}
		if layer.wanted.Lane > layer.sentLane {
			hurry = append(hurry, layer.id)
		}
	}
	batch := &pgx.Batch{}
	if len(edgeLayers) > 0 {
		batch.Queue(`INSERT INTO pending_layer (layer_id, image_id)
			SELECT * FROM unnest($1::int[], $2::int[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING`, edgeLayers, edgeImages)
	}
	if len(reset) > 0 {
		batch.Queue(`UPDATE layer SET state = 0, attempts = 0, sent_at = NULL, not_before = NULL, read_bytes = 0, problem = NULL
			WHERE id = ANY($1)`, reset)
	}
	if len(recall) > 0 { // until it is marked as sent, the sweep has to find it
		batch.Queue(`UPDATE layer SET sent_at = NULL WHERE id = ANY($1)`, recall)
	}
	if len(hurry) > 0 {
		batch.Queue(`UPDATE layer SET lane = 1 WHERE id = ANY($1)`, hurry)
	}
	if err := r.tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return r.completeEmpty(ctx)
}

// completeEmpty completes the new images that have no layer, for which no worker will ever come.
func (r *recording) completeEmpty(ctx context.Context) error {
	var empty []int32
	for _, resolution := range r.batch {
		for _, image := range resolution.Images {
			if id := r.images[image.Digest]; len(image.Layers) == 0 && r.added[id] {
				empty = append(empty, id)
			}
		}
	}
	if len(empty) == 0 {
		return nil
	}
	_, err := completeImages(ctx, r.tx, distinct(empty), false)
	return err
}

func (r *recording) finishSubmissions(ctx context.Context) error {
	n := len(r.batch)
	ids, references, images := make([]string, n), make([]string, n), make([]string, n)
	targets, skipped := make([][]byte, n), make([]*string, n)
	for i, resolution := range r.batch {
		ids[i], references[i], targets[i] = resolution.Submission, resolution.Reference, resolution.Digest.Bytes()
		if len(resolution.Skipped) > 0 {
			text, err := jsonText(resolution.Skipped)
			if err != nil {
				return err
			}
			skipped[i] = &text
		}
		var imageIDs []int32
		for _, image := range resolution.Images {
			imageIDs = append(imageIDs, r.images[image.Digest])
		}
		images[i] = intArray(distinct(imageIDs))
	}
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE submission s
		SET state = 1, resolved_at = now(), not_before = NULL, problem = NULL,
			reference = v.reference, digest = v.digest, image_ids = v.images::int[], skipped = v.skipped
		FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[]::jsonb[]) AS v(id, reference, digest, images, skipped)
		WHERE s.id = v.id::uuid`, ids, references, targets, images, skipped)
	batch.Queue(noteMoves, references, targets, images)
	batch.Queue(`
		INSERT INTO tag (reference, digest, image_ids, resolved_at)
		SELECT DISTINCT ON (reference) reference, digest, images::int[], now()
		FROM unnest($1::text[], $2::bytea[], $3::text[]) AS v(reference, digest, images)
		ORDER BY reference
		ON CONFLICT (reference) DO UPDATE
		SET digest = excluded.digest, resolved_at = excluded.resolved_at,
			-- Who asks for one platform does not take the others away.
			image_ids = CASE WHEN tag.digest <> excluded.digest THEN excluded.image_ids
				ELSE tag.image_ids || array(SELECT x FROM unnest(excluded.image_ids) x WHERE x <> ALL (tag.image_ids)) END`,
		references, targets, images)
	return r.tx.SendBatch(ctx, batch).Close()
}

// MarkLayersSent notes that jobs for these layers are in Kafka. asOf is when they were found to be unsent, by the clock of
// the database. A layer that was parked since is left as it is: its job was answered already.
func (s *Store) MarkLayersSent(ctx context.Context, term int64, asOf time.Time, layers []digest.Digest) error {
	if len(layers) == 0 {
		return nil
	}
	return s.writeAs(ctx, term, "mark layers sent", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			WITH v AS (
				SELECT id FROM layer
				WHERE digest = ANY($1) AND (not_before IS NULL OR not_before <= $2)
				ORDER BY id FOR NO KEY UPDATE)
			UPDATE layer SET state = greatest(state, 1), sent_at = now() FROM v WHERE layer.id = v.id`, sums(layers), asOf)
		return err
	})
}
