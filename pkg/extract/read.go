package extract

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/extract/gunzip"
	"github.com/trawl-scanner/trawl/pkg/extract/untar"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// inflatedBytes is the size of the buffer of inflated bytes, in which the archive is walked.
const inflatedBytes = 512 << 10

// buffers are what the analysis of a layer needs. They are used again for other layers.
type buffers struct {
	chunk []byte
	gzip  *gunzip.Reader
	walk  *bufio.Reader
	seen  *seen
}

func (x *Extractor) borrow() *buffers {
	if b, ok := x.buffers.Get().(*buffers); ok {
		return b
	}
	return &buffers{newChunk(), gunzip.NewReader(), bufio.NewReaderSize(nil, inflatedBytes), newSeen()}
}

func (x *Extractor) giveBack(b *buffers) {
	b.walk.Reset(nil) // hold on to nothing of the layer
	b.seen.clear()
	x.buffers.Put(b)
}

// read is one pass over the layer: every entry is shown to the visitor, and all bytes are read, summed and
// held against the limits, those behind the end of the archive and of the compressed stream too. garbage tells what
// of the latter was there that is no part of it, or is "".
func (b *buffers) read(ctx context.Context, open Opener, blob Blob, lim limits.Limits, w *share, visit visitor) (stats Stats, garbage string, err error) {
	stats.Passes = 1
	src, err := openSource(ctx, open, blob, lim, b.chunk)
	if err != nil {
		return stats, "", err
	}
	defer src.end()
	in, compression, err := inflate(src, b.gzip, w)
	if err != nil {
		return stats, "", err
	}
	defer in.close()
	stats.Compression = compression
	content := &inflated{ctx: ctx, r: in, src: src, lim: lim}
	if blob.Inflated {
		content.sum = blob.Digest.Verifier()
	}
	b.walk.Reset(content)

	err = walk(ctx, b.walk, lim, visit, &stats)
	if err == nil {
		err = skipAll(b.walk)
	}
	if err == nil {
		err = src.drain()
	}
	stats.CompressedBytes, stats.InflatedBytes = src.Offset(), content.n
	if err != nil {
		return stats, "", diagnose(src, err)
	}
	if offset, ok := in.garbage(); ok {
		garbage = fmt.Sprintf("%d bytes that follow the compressed stream and are no part of it were ignored", stats.CompressedBytes-offset)
	}
	return stats, garbage, verify(src, content, &stats)
}

// walk shows the entries of the archive to the visitor.
func walk(ctx context.Context, r *bufio.Reader, lim limits.Limits, visit visitor, stats *Stats) error {
	w := untar.NewWalker(r)
	for {
		e, err := w.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		stats.Entries++
		if err := limits.Check("entries of the layer", "entries", lim.Entries, stats.Entries); err != nil {
			return err
		}
		if stats.Entries%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := visit(e, w); err != nil {
			return err
		}
	}
}

// skipAll reads to the end.
func skipAll(r *bufio.Reader) error {
	for {
		if _, err := r.Discard(inflatedBytes); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// verify holds the layer to its digest.
func verify(src *source, content *inflated, stats *Stats) error {
	if content.sum != nil {
		stats.DiffID = content.sum.Got()
		return content.sum.Err()
	}
	stats.Digest = src.sum.Got()
	if stats.Compression == None {
		stats.DiffID = stats.Digest
	}
	return src.sum.Err()
}

// diagnose returns the error that tells most about a layer that could not be read. If its bytes are broken, the
// first question is whether they are those that were asked for, so they are read to their end and summed.
func diagnose(src *source, err error) error {
	if s := (*streamError)(nil); errors.As(err, &s) {
		err = s.err
	}
	switch fault.KindOf(err) {
	case fault.Corrupt, fault.Unsupported:
	default:
		return err
	}
	if src.sum == nil {
		return err
	}
	if ended := src.drain(); ended != nil { // nobody knows
		if errors.Is(err, ended) {
			return err
		}
		return errors.Join(ended, err)
	}
	if mismatch := src.sum.Err(); mismatch != nil {
		return errors.Join(mismatch, err)
	}
	return err
}

// inflated is the inflated stream, counted, summed if need be, and held against the limits.
type inflated struct {
	ctx context.Context
	r   io.Reader
	src *source
	lim limits.Limits
	sum *digest.Verifier // nil if it need not be summed
	n   int64
}

// Read implements [io.Reader]. Errors are [*streamError].
func (c *inflated) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, &streamError{context.Cause(c.ctx)}
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.sum != nil {
		c.sum.Write(p[:n])
	}
	if err == nil || err == io.EOF {
		if e := c.check(); e != nil {
			n, err = 0, e
		}
	}
	if err != nil && err != io.EOF {
		err = &streamError{err}
	}
	return n, err
}

// check holds what was inflated so far to the limits.
func (c *inflated) check() error {
	if err := limits.Check("inflated size of the layer", "bytes", c.lim.InflatedBytes, c.n); err != nil {
		return err
	}
	if c.n <= limits.RatioFloorBytes {
		return nil
	}
	return limits.Check("inflated to compressed size of the layer", "to 1", c.lim.Ratio, c.n/max(c.src.Offset(), 1))
}

// streamError is an error of the inflated stream. It keeps those who read the archive from taking the error
// of a connection for one of theirs: both may be [io.ErrUnexpectedEOF].
type streamError struct{ err error }

func (e *streamError) Error() string { return e.err.Error() }
