package extract

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

const (
	chunkBytes    = 256 << 10
	chunksAhead   = 4  // read and summed ahead of what is inflated
	headroomBytes = 64 // before each chunk, for the rest of the one before: so far Peek can reach beyond it
	progressBytes = 1 << 20
)

// source reads a layer's bytes ahead in a goroutine of its own, which also sums, counts and limits them: summing
// costs about a quarter of what inflating does. It is a gunzip.Source. Its methods are for one goroutine.
type source struct {
	blob   Blob
	most   int64            // limit of CompressedBytes
	sum    *digest.Verifier // nil if the bytes as transferred need not be summed
	stream io.ReadCloser

	full   chan chunk  // closed when nothing more comes
	free   chan []byte // empty chunks; nil ones are to be allocated
	cancel context.CancelFunc
	stop   func() bool // of the closing of the stream when the context ends
	done   sync.WaitGroup
	once   sync.Once

	current []byte // what is left of the chunk at hand
	backing []byte // that chunk as a whole
	taken   int64  // bytes in chunks taken so far
	err     error  // what follows the chunk at hand
	read    atomic.Int64
}

type chunk struct {
	buffer []byte // headroom, then n bytes
	n      int
	err    error // what ended the stream behind these bytes
}

// openSource opens the layer and begins to read it, into chunks that are there or made. It has to be closed.
func openSource(ctx context.Context, open Opener, blob Blob, lim limits.Limits, chunks [][]byte) (*source, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := open(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &source{
		blob: blob, most: lim.CompressedBytes, stream: stream, cancel: cancel,
		full: make(chan chunk, chunksAhead), free: make(chan []byte, chunksAhead),
	}
	if !blob.Inflated {
		s.sum = blob.Digest.Verifier()
	}
	for i := range chunksAhead {
		s.free <- chunks[i]
	}
	s.stop = context.AfterFunc(ctx, s.closeStream)
	s.done.Go(func() { s.produce(ctx) })
	return s, nil
}

// close ends the reading and gives the chunks back, for the next layer.
func (s *source) close(chunks [][]byte) {
	s.cancel()
	s.stop()
	s.closeStream()
	for c := range s.full { // until the goroutine has seen it
		s.free <- c.buffer
	}
	s.done.Wait()
	if s.backing != nil {
		s.free <- s.backing
	}
	for i := range chunksAhead {
		chunks[i] = nil
		select {
		case chunks[i] = <-s.free:
		default:
		}
	}
}

func (s *source) closeStream() {
	s.once.Do(func() { s.stream.Close() }) //nolint:errcheck // it was read only
}

// produce fills chunks until the stream ends.
func (s *source) produce(ctx context.Context) {
	defer close(s.full)
	var reported int64
	for b := range s.free {
		if b == nil {
			b = make([]byte, headroomBytes+chunkBytes)
		}
		n, err := readFull(s.stream, b[headroomBytes:])
		if ctx.Err() != nil {
			err = context.Cause(ctx) // and not that the stream was closed
		}
		if s.sum != nil {
			s.sum.Write(b[headroomBytes : headroomBytes+n]) //nolint:errcheck // a hash has none
		}
		total := s.read.Add(int64(n))
		if err == nil || err == io.EOF {
			if e := s.check(total, err == io.EOF); e != nil {
				err = e
			}
		}
		if s.blob.Progress != nil && (total-reported >= progressBytes || err != nil) {
			reported = total
			s.blob.Progress(total)
		}
		s.full <- chunk{b, n, err}
		if err != nil {
			return
		}
	}
}

// check holds the number of bytes read to the limit and to what the manifest says.
func (s *source) check(total int64, end bool) error {
	if err := limits.Check("compressed size of the layer", "bytes", s.most, total); err != nil {
		return err
	}
	switch {
	case s.blob.Size == 0:
	case total > s.blob.Size:
		return fault.Newf(fault.Corrupt, "read", "layer", "more than the %d bytes that the manifest says", s.blob.Size)
	case end && total < s.blob.Size:
		return fault.Newf(fault.Corrupt, "read", "layer", "it ends after %d of the %d bytes that the manifest says", total, s.blob.Size)
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

// next takes the next chunk behind what is left of the one at hand. Without one it returns why.
func (s *source) next() error {
	if s.err != nil {
		return s.err
	}
	c, ok := <-s.full
	if !ok {
		s.err = io.ErrClosedPipe
		return s.err
	}
	start := headroomBytes - copy(c.buffer[headroomBytes-len(s.current):], s.current)
	if s.backing != nil {
		s.free <- s.backing
	}
	s.current, s.backing = c.buffer[start:headroomBytes+c.n], c.buffer
	s.taken += int64(c.n)
	s.err = c.err
	return nil
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
func (s *source) Offset() int64 { return s.taken - int64(len(s.current)) }

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
