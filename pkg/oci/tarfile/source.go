package tarfile

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/trawl-scanner/trawl/pkg/limits"
)

// source is a tar file, inflated, that knows how far it has been read.
type source interface {
	io.ReadCloser
	position() int64
}

// newSource returns a source of f, at its beginning, and how f is compressed. To close it does not
// close f.
func newSource(ctx context.Context, f *os.File, l limits.Limits) (source, Compression, error) {
	compression, err := SniffFile(f)
	if err != nil {
		return nil, "", err
	}
	if compression == None {
		return &seeking{ctx: ctx, f: f}, None, nil
	}
	r, err := Inflate(&interruptible{ctx, f}, compression)
	if err != nil {
		return nil, "", err
	}
	return &counting{ReadCloser: r, most: l.InflatedBytes}, compression, nil
}

// seeking is the source of a file that is not compressed. The tar reader skips with Seek what it is
// not asked for.
type seeking struct {
	ctx context.Context //nolint:containedctx // of the call that reads the file
	f   *os.File
	at  int64
}

func (s *seeking) position() int64 { return s.at }

func (s *seeking) Close() error { return nil }

func (s *seeking) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	n, err := s.f.ReadAt(p, s.at)
	s.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (s *seeking) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekStart:
	default:
		return 0, errors.ErrUnsupported
	}
	if offset < 0 {
		return 0, os.ErrInvalid
	}
	s.at = offset
	return offset, nil
}

// counting is the source of a compressed file. It ends with an error when it is too much.
type counting struct {
	io.ReadCloser
	at   int64
	most int64
}

func (c *counting) position() int64 { return c.at }

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.at += int64(n)
	if limit := limits.Check("inflated size of the archive", "bytes", c.most, c.at); limit != nil {
		return n, limit
	}
	return n, err
}

// interruptible is a file whose reading ends when its context does.
type interruptible struct {
	ctx context.Context //nolint:containedctx // of the call that reads the file
	f   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.f.Read(p)
}
