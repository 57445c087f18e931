// Package extract provides the analysis of a container layer: one pass over its bytes, which verifies their
// digest, inflates them, and reads the package databases and release files that the tar archive inside holds.
//
// What is looked for is one table (table.go): a path, and the function that reads what is there. A layer is never
// held whole, neither in memory nor on disk. Memory is bounded by some buffers and the package databases in
// flight, whatever the size of the layer and the number of its files; see [Extractor].
//
// Links are followed inside the layer: a database to which a link leads is listed at the path of the link. That a
// later layer changes it where it really is, outside of the table, is not seen.
//
// It analyzes one layer by itself. What is installed in an image is for inventory.Squash to say. Nor does it fetch
// layers, or know what a manifest is.
package extract

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Version is the version of the extractor. It is raised when what it says about the same layer may change:
// stored results of a lower version are then made anew.
const Version = 1

// Opener opens a layer's bytes, as they are transferred, from their start. It may be called a second time, after
// the first stream was closed, when the layer has links that lead back; see [Stats.Passes].
//
// Its errors, and those of the stream, are returned with their kind. Close must make a pending Read return: it is
// called when the context ends.
type Opener func(ctx context.Context) (io.ReadCloser, error)

// Blob says what is known of a layer beforehand.
type Blob struct {
	// Digest is what the bytes must have. The zero value verifies nothing.
	Digest digest.Digest
	// Inflated says that Digest is that of the tar archive (the diff ID), and not of the bytes as transferred,
	// as in what "docker save" writes.
	Inflated bool
	// Size is the size in bytes as transferred, as the manifest tells it. Other sizes are an error. 0 is unknown.
	Size int64
	// Prefix is the directory of the archive that holds the root file system: "rootfs" in an App Container
	// Image. What is outside of it is ignored. "" is the archive itself.
	Prefix string
	// Progress, if set, is called with the number of bytes read as transferred: about once per MiB, and at the
	// end. The analysis waits for it.
	Progress func(compressedBytes int64)
}

// Stats says what the analysis of a layer took.
type Stats struct {
	CompressedBytes int64         // as transferred
	InflatedBytes   int64         // of the tar archive, with what follows its end
	Entries         int64         // of the archive
	Files           int64         // that were read, of those in the table
	Passes          int           // 2 if the layer had to be read again because of links, else 1
	Compression     Compression   // as its first bytes tell
	Digest          digest.Digest // of the bytes as transferred; zero if it was not computed
	DiffID          digest.Digest // of the tar archive; zero if it was not computed
	Duration        time.Duration
}

// Extractor analyzes layers. The zero value is ready to use. An Extractor is safe for concurrent use and must not
// be copied after the first; using one for all layers saves memory.
//
// Per layer under way it holds some 1 MiB of buffers, of a zstd or xz stream also its window, the packages found so
// far, and of an rpm database up to 1 MiB: a longer one is written to a temporary file that has no name.
type Extractor struct {
	// Limits bounds what one layer may cost.
	Limits limits.Limits
	// TempDir is the directory of temporary files. "" is [os.TempDir].
	TempDir string
	// WindowBytes bounds the memory for the windows of the zstd and xz streams of all layers under way together.
	// A layer waits, with its stream open, until there is room for its own; one that wants more than this is
	// admitted when it is the only one that wants any. 0 is 64 MiB: what eight zstd layers of any level up to 19
	// take, or four of xz -6.
	WindowBytes int64

	buffers sync.Pool // of *buffers
	windows windows
}

// Layer analyzes one layer with the given limits. See [Extractor.Layer].
func Layer(ctx context.Context, open Opener, blob Blob, lim limits.Limits) (inventory.Layer, Stats, error) {
	x := Extractor{Limits: lim}
	return x.Layer(ctx, open, blob)
}

// Layer analyzes one layer. The layer is always read to its end, and nothing is returned unless it has the digest
// that is wanted; the Stats are returned in any case, as far as it came.
//
// A file that is in the table and cannot be read is a problem of the layer, and so is a record of it; the error
// is for what makes the layer as a whole unreadable:
//
//   - a [*digest.MismatchError], kind Corrupt: it is not the content that was asked for;
//   - a [*limits.Error], kind TooLarge;
//   - kind Corrupt or Unsupported: compression or archive are broken, or it is no archive at all;
//   - an error of the opener or its stream, with its kind;
//   - kind Unavailable: no temporary file could be written;
//   - kind Canceled, or that of the cause: the context ended.
func (x *Extractor) Layer(ctx context.Context, open Opener, blob Blob) (inventory.Layer, Stats, error) {
	began := time.Now()
	lim := x.Limits.WithDefaults()
	if lim.LayerTime > 0 {
		most := int64(lim.LayerTime / time.Second)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, lim.LayerTime,
			&limits.Error{What: "time to read the layer", Unit: "seconds", Most: most, Got: most})
		defer cancel()
	}
	layer, stats, err := x.layer(ctx, open, blob, lim)
	stats.Duration = time.Since(began)
	if err != nil {
		return inventory.Layer{}, stats, fault.Wrap("extract", "layer "+blob.Digest.String(), err)
	}
	return layer, stats, nil
}

func (x *Extractor) layer(ctx context.Context, open Opener, blob Blob, lim limits.Limits) (inventory.Layer, Stats, error) {
	b := x.borrow()
	defer x.giveBack(b)
	f := newFindings(ctx, lim, x.TempDir, b.seen)
	defer f.close()
	w := x.windows.share(ctx, x.WindowBytes)
	defer w.release()
	stats, garbage, err := b.read(ctx, open, blob, lim, w, f.first(blob.Prefix))
	if err == nil && garbage != "" {
		err = f.problem(problemf("", fault.Corrupt, "%s", garbage))
	}
	if err == nil && f.needsSecondPass() {
		_, _, err = b.read(ctx, open, blob, lim, w, f.second(blob.Prefix))
		stats.Passes++
	}
	stats.Files = f.files
	if err != nil {
		return inventory.Layer{}, stats, err
	}
	layer, err := f.layer()
	return layer, stats, err
}
