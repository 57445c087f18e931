package extract

import (
	"context"
	"io"
	"sync"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

const (
	chunkBytes    = 256 << 10
	headroomBytes = 64 // before the chunk, for what is left of the one before: so far Peek can reach beyond it
	progressBytes = 1 << 20
)

// source is the stream of a layer's bytes. It sums, counts and limits them as it reads them, chunk by chunk, into a
// buffer where they can be looked at: it is a gunzip.Source.
//
// Reading and summing take no goroutine of their own. That would win a tenth of the wall time of a single layer on
// an idle machine, and lose it on a busy one: a second runnable goroutine makes Go's scheduler take the processor
// away from every call of the C inflater, and give it back.
type source struct {
	ctx    context.Context
	blob   Blob
	most   int64            // limit of CompressedBytes
	sum    *digest.Verifier // nil if the bytes as transferred need not be summed
	stream io.ReadCloser
	stop   func() bool // of the closing of the stream when the context ends
	close  func()      // closes the stream, once

	buffer   []byte // headroom and a chunk
	current  []byte // what of it was not taken yet
	read     int64  // bytes of the stream, so far
	reported int64  // of them, to Progress
	err      error  // what follows the chunk
}

// newChunk returns a buffer for a source.
func newChunk() []byte { return make([]byte, headroomBytes+chunkBytes) }

// openSource opens the layer. The source has to be ended; until then the buffer is its own.
func openSource(ctx context.Context, open Opener, blob Blob, lim limits.Limits, buffer []byte) (*source, error) {
	stream, err := open(ctx)
	if err != nil {
		return nil, err
	}
	s := &source{ctx: ctx, blob: blob, most: lim.CompressedBytes, stream: stream, buffer: buffer}
	if !blob.Inflated {
		s.sum = blob.Digest.Verifier()
	}
	s.close = sync.OnceFunc(func() { stream.Close() }) //nolint:errcheck // it was read only
	s.stop = context.AfterFunc(ctx, s.close)
	return s, nil
}

// end closes the stream.
func (s *source) end() {
	s.stop()
	s.close()
}

// next reads the next chunk behind what is left of the one at hand. If there is none it returns why.
func (s *source) next() error {
	if s.err != nil {
		return s.err
	}
	start := headroomBytes - copy(s.buffer[headroomBytes-len(s.current):], s.current)
	chunk := s.buffer[headroomBytes:]
	n, err := readFull(s.stream, chunk)
	if s.ctx.Err() != nil {
		err = context.Cause(s.ctx) // and not that the stream was closed
	}
	if s.sum != nil {
		s.sum.Write(chunk[:n])
	}
	s.read += int64(n)
	if err == nil || err == io.EOF {
		if e := s.check(err == io.EOF); e != nil {
			err = e
		}
	}
	if s.blob.Progress != nil && (s.read-s.reported >= progressBytes || err != nil) {
		s.reported = s.read
		s.blob.Progress(s.read)
	}
	s.current, s.err = s.buffer[start:headroomBytes+n], err
	return nil
}

// check holds the number of bytes read to the limit and to what the manifest says.
func (s *source) check(end bool) error {
	if err := limits.Check("compressed size of the layer", "bytes", s.most, s.read); err != nil {
		return err
	}
	switch {
	case s.blob.Size == 0:
	case s.read > s.blob.Size:
		return fault.Newf(fault.Corrupt, "read", "layer", "more than the %d bytes that the manifest says: %w", s.blob.Size, digest.ErrOther)
	case end && s.read < s.blob.Size:
		return fault.Newf(fault.Corrupt, "read", "layer", "it ends after %d of the %d bytes that the manifest says: %w", s.read, s.blob.Size, digest.ErrOther)
	}
	return nil
}

// readFull reads until p is full or the stream ends.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var k int
		k, err = r.Read(p[n:])
		n += k
		if empty++; k > 0 {
			empty = 0
		} else if empty > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// Peek returns the next n bytes without moving, or fewer and why. Beyond what is buffered, n may be at most headroomBytes.
func (s *source) Peek(n int) ([]byte, error) {
	for len(s.current) < n {
		if err := s.next(); err != nil {
			return s.current, err
		}
	}
	return s.current[:n], nil
}

// Discard moves by n bytes, or by fewer if they end.
func (s *source) Discard(n int) (int, error) {
	for discarded := 0; ; {
		k := min(n-discarded, len(s.current))
		s.current = s.current[k:]
		if discarded += k; discarded == n {
			return n, nil
		}
		if err := s.next(); err != nil {
			return discarded, err
		}
	}
}

// Buffered returns how many bytes are at hand.
func (s *source) Buffered() int { return len(s.current) }

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	for len(s.current) == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.current)
	s.current = s.current[n:]
	return n, nil
}

// ReadByte implements [io.ByteReader].
func (s *source) ReadByte() (byte, error) {
	b, err := s.Peek(1)
	if err != nil {
		return 0, err
	}
	s.current = s.current[1:]
	return b[0], nil
}

// Offset returns how many bytes were taken.
func (s *source) Offset() int64 { return s.read - int64(len(s.current)) }

// Err returns the error that ended the stream, if that was not its end.
func (s *source) Err() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// drain reads what is left.
func (s *source) drain() error {
	for {
		s.current = nil
		if err := s.next(); err != nil {
			return s.Err()
		}
	}
}
