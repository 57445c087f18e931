package extract

import (
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/trawl-scanner/trawl/pkg/extract/gunzip"
	"github.com/trawl-scanner/trawl/pkg/extract/unxz"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Compression is how a layer is compressed. Media types are not asked: registries and builders get them wrong.
type Compression string

// The compressions.
const (
	None  Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
	XZ    Compression = "xz"
)

const magicBytes = 10

// compressionOf tells the compression from the first bytes of a stream.
func compressionOf(b []byte) Compression {
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}): // RFC 1952
		return Gzip
	case len(b) >= 4 && isZstd(binary.LittleEndian.Uint32(b)):
		return Zstd
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")): // https://tukaani.org/xz/xz-file-format.txt
		return XZ
	case len(b) >= 10 && bytes.HasPrefix(b, []byte("BZh")) && b[3] >= '1' && b[3] <= '9' &&
		(string(b[4:10]) == "\x31\x41\x59\x26\x53\x59" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return Bzip2 // with the magic of a block or of the end, so that no file name is taken for it
	}
	return None
}

// isZstd reports whether a frame begins so, with content or to be skipped (RFC 8878, 3.1).
func isZstd(magic uint32) bool { return magic == 0xfd2fb528 || magic&^0xf == 0x184d2a50 }

// inflater is a stream that is being inflated.
type inflater struct {
	io.Reader
	close   func()
	garbage func() (offset int64, ok bool) // bytes behind the compressed stream that are none of it
}

// inflate returns the inflated stream of src, told by its first bytes.
func inflate(src *source, z *gunzip.Reader, w *share) (inflater, Compression, error) {
	magic, err := src.Peek(magicBytes)
	if err != nil && err != io.EOF {
		return inflater{}, "", err
	}
	in := inflater{close: func() {}, garbage: func() (int64, bool) { return 0, false }}
	compression := compressionOf(magic)
	switch compression {
	case Gzip:
		z.Reset(src)
		in.Reader, in.garbage = z, z.Garbage
	case Zstd:
		d := w.borrow()
		d.Reset(src, w.window)
		in.Reader, in.close = &explained{d, src, compression}, func() { w.giveBack(d) }
	case Bzip2:
		in.Reader = &explained{bzip2.NewReader(src), src, compression}
	case XZ:
		d := unxz.NewReader(src, w.dictionary)
		in.Reader, in.close = &explained{d, src, compression}, d.Close
	default:
		in.Reader = src
	}
	return in, compression, nil
}

// explained turns the errors of a decompressor into those of this package.
type explained struct {
	io.Reader
	src         *source
	compression Compression
}

func (e *explained) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if err := e.src.Err(); err != nil {
		return n, err // the stream's own
	}
	if e.src.ctx.Err() != nil {
		return n, context.Cause(e.src.ctx)
	}
	kind := fault.Corrupt
	var limit *limits.Error
	switch {
	case errors.As(err, &limit):
		return n, err
	case errors.Is(err, unxz.ErrUnsupported):
		kind = fault.Unsupported
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("unexpected end of stream")
	}
	return n, fault.New(kind, "inflate", fmt.Sprintf("%s near byte %d", e.compression, e.src.Offset()), err)
}
