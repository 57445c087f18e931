package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// ImageState says whether an image has a result. The numbers are stored.
type ImageState uint8

// The states of an image.
const (
	ImagePending    ImageState = iota // no result yet
	ImageComplete                     // every layer was analyzed and read without a problem
	ImageIncomplete                   // it has a result that does not cover all of it
)

// completion is an image about to be completed.
type completion struct {
	id        int32
	digest    digest.Digest
	layerIDs  []int32
	inventory inventory.Inventory
	state     ImageState
}

// completeImages gives a result to those of the images that wait for no layer. It locks the images
// first: of two transactions that take the last two edges of an image, the second sees that none is left.
//
// With apart each image is completed by itself, and one that the database refuses is given a result that says
// why. It costs more round trips, and is for after a refusal.
func completeImages(ctx context.Context, tx pgx.Tx, ids []int32, apart bool) (Committed, error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT FROM image WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, ids)
	batch.Queue(`SELECT pg_advisory_xact_lock_shared($1)`, int64(interningLock)) // see collect.go
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return Committed{}, err
	}
	images, err := readyImages(ctx, tx, ids)
	if err != nil || len(images) == 0 {
		return Committed{}, err
	}
	if !apart {
		return complete(ctx, tx, images)
	}
	var out Committed
	for _, image := range images {
		one, err := completeApart(ctx, tx, image)
		if err != nil {
			return out, err
		}
		out.Images = append(out.Images, one.Images...)
		out.Releases += one.Releases
		out.Findings += one.Findings
	}
	return out, nil
}

// completeApart completes one image in a transaction of its own inside tx.
func completeApart(ctx context.Context, tx pgx.Tx, image *completion) (out Committed, err error) {
	err = pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
		out, err = complete(ctx, inner, []*completion{image})
		return err
	})
	if err != nil {
		err = fault.New(kindOf(err), "complete", image.digest.String(), err)
	}
	if !refused(err) {
		return out, err
	}
	image.state = ImageIncomplete
	problem := inventory.LayerProblem{
		Layer:   max(0, len(image.layerIDs)-1),
		Problem: inventory.Problem{Kind: fault.KindOf(err).String(), Detail: clean("what the layers hold together cannot be stored: " + err.Error())},
	}
	text, err := jsonText([]inventory.LayerProblem{problem})
	if err != nil {
		return out, err
	}
	_, err = tx.Exec(ctx, `UPDATE image SET state = $2, problems = $3::text::jsonb, completed_at = now() WHERE id = $1`,
		image.id, int16(image.state), text)
	return Committed{Images: []CompletedImage{{ID: image.id, Digest: image.digest, State: image.state}}}, err
}

// complete gives results to images that wait for nothing.
func complete(ctx context.Context, tx pgx.Tx, images []*completion) (Committed, error) {
	var out Committed
	if err := squash(ctx, tx, images); err != nil {
		return out, err
	}
	interned, err := internInventories(ctx, tx, images)
	if err != nil {
		return out, err
	}
	out.Releases = len(interned.newReleases)
	if out.Findings, err = correlateReleases(ctx, tx, interned.newReleases); err != nil {
		return out, err
	}
	if err := storeResults(ctx, tx, images, interned); err != nil {
		return out, err
	}
	for _, image := range images {
		out.Images = append(out.Images, CompletedImage{ID: image.id, Digest: image.digest, State: image.state})
	}
	return out, nil
}

// readyImages reads those of the images that wait for nothing.
func readyImages(ctx context.Context, tx pgx.Tx, ids []int32) ([]*completion, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, digest, layer_ids FROM image i
		WHERE id = ANY($1) AND NOT EXISTS (SELECT FROM pending_layer p WHERE p.image_id = i.id)
		ORDER BY id`, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*completion, error) {
		var c completion
		var sum []byte
		err := row.Scan(&c.id, &sum, &c.layerIDs)
		if err != nil {
			return nil, err
		}
		c.digest, err = digest.FromBytes(sum)
		return &c, err
	})
}

// squash reads the layers of the images and sets each image's inventory and state.
func squash(ctx context.Context, tx pgx.Tx, images []*completion) error {
	var ids []int32
	for _, image := range images {
		ids = append(ids, image.layerIDs...)
	}
	rows, err := tx.Query(ctx, `SELECT id, state, content FROM layer WHERE id = ANY($1)`, distinct(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	layers := make(map[int32]*inventory.Layer)
	for rows.Next() {
		var id int32
		var state layerState
		var content []byte
		if err := rows.Scan(&id, &state, &content); err != nil {
			return err
		}
		if state != layerAnalyzed {
			continue // it stays nil: not known
		}
		if content == nil {
			layers[id] = &inventory.Layer{}
		} else if layers[id], err = inventory.UnmarshalLayer(content); err != nil {
			return errBug("content of layer %d: %w", id, err)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, image := range images {
		stack := make([]*inventory.Layer, len(image.layerIDs))
		image.state = ImageComplete
		for i, id := range image.layerIDs {
			if stack[i] = layers[id]; stack[i] == nil {
				image.state = ImageIncomplete
			}
		}
		image.inventory = inventory.Squash(stack)
		dropUnstorable(&image.inventory)
		if len(image.inventory.Problems) > 0 {
			image.state = ImageIncomplete
		}
	}
	return nil
}

// maxPackageBytes bounds the texts of a package that stand in one index, of whose rows Postgres takes no more
// than 2704 bytes.
const maxPackageBytes = 2400

// dropUnstorable makes a problem of each package that no index would take. Only a package that somebody made up
// for the purpose is that long.
func dropUnstorable(inv *inventory.Inventory) {
	inv.Packages = slices.DeleteFunc(inv.Packages, func(p inventory.Installed) bool {
		bytes := len(p.Name) + len(p.Version) + len(p.Arch) + len(p.Module)
		if bytes <= maxPackageBytes {
			return false
		}
		inv.Problems = append(inv.Problems, inventory.LayerProblem{Layer: p.Layer, Problem: inventory.Problem{
			Kind: fault.TooLarge.String(), Detail: fmt.Sprintf("package %q: name, version, architecture and module take %d bytes", cut(p.Name), bytes), Count: 1,
		}})
		return true
	})
}

// storeResults writes the results of the images.
func storeResults(ctx context.Context, tx pgx.Tx, images []*completion, interned *interned) error {
	n := len(images)
	ids, states, inventories := make([]int32, n), make([]int16, n), make([]int32, n)
	origins, problems := make([][]byte, n), make([]any, n)
	for i, image := range images {
		ids[i], states[i] = image.id, int16(image.state)
		inventories[i], origins[i] = interned.inventories[i].id, interned.inventories[i].origins
		if len(image.inventory.Problems) > 0 {
			text, err := jsonText(image.inventory.Problems)
			if err != nil {
				return err
			}
			problems[i] = text
		}
	}
	_, err := tx.Exec(ctx, `
		UPDATE image i SET state = v.state, inventory_id = v.inventory, origins = v.origins, problems = v.problems, completed_at = now()
		FROM unnest($1::int[], $2::smallint[], $3::int[], $4::bytea[], $5::text[]::jsonb[]) AS v(id, state, inventory, origins, problems)
		WHERE i.id = v.id`, ids, states, inventories, origins, problems)
	return err
}

// encodeOrigins writes layer indexes as uvarints.
func encodeOrigins(layers []int) []byte {
	out := make([]byte, 0, len(layers))
	for _, layer := range layers {
		out = binary.AppendUvarint(out, uint64(layer))
	}
	return out
}

// decodeOrigins reads what encodeOrigins wrote. What is missing reads as the base layer.
func decodeOrigins(b []byte, n int) []int {
	out := make([]int, n)
	for i := range out {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			break
		}
		out[i], b = int(v), b[size:]
	}
	return out
}
