// Package gunzip provides a reader of gzip streams (RFC 1952), as container layers are compressed with.
//
// Headers, trailers, members and padding are read here, once, in Go. The deflate streams inside (RFC 1951)
// are inflated by one of two implementations: ISA-L through cgo, with the build tag "isal", and
// github.com/klauspost/compress/flate without. [Implementation] says which. Both give the same bytes and
// fail on the same streams; a differential fuzz test holds them to it.
//
// It does not write gzip, and gives access neither to file names nor to times.
package gunzip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The reasons for which a stream is refused. They come wrapped in an [*Error].
var (
	ErrTruncated = errors.New("unexpected end of stream")
	ErrHeader    = errors.New("invalid member header")
	ErrDeflate   = errors.New("invalid deflate data")
	ErrChecksum  = errors.New("checksum of the content differs from the one stored")
	ErrLength    = errors.New("length of the content differs from the one stored")
)

// Error says where in the compressed stream which rule is broken. Its kind is [fault.Corrupt].
type Error struct {
	Offset int64 // in bytes, from the start of the compressed stream; near the fault, not before it
	Err    error // one of the reasons above
}

func (e *Error) Error() string { return fmt.Sprintf("gzip at byte %d: %v", e.Offset, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// FaultKind makes the error a [fault.Corrupt].
func (*Error) FaultKind() fault.Kind { return fault.Corrupt }

// Reader inflates a gzip stream: all its members, one after the other.
//
// Zero bytes after the last member are padding and skipped, as gzip(1) does. Anything else that follows
// a whole member and is not a member is garbage: the stream ends before it, and [Reader.Garbage] tells.
// It is not safe for concurrent use.
type Reader struct {
	src     Source
	wrapped wrapper // the source of a stream that is none itself
	inflate inflater
	member  bool   // inside a member
	crc     uint32 // of the content of the member so far
	size    uint32 // of the content of the member so far, modulo 2^32
	garbage int64  // offset of the garbage, -1 for none
	err     error  // what Read returns from now on
}

// inflater inflates raw deflate streams.
type inflater interface {
	// inPlace reports whether it reads any Source without copying. If not it wants the package's own.
	inPlace() bool
	// reset prepares for a stream that starts at the position of src.
	reset(src Source)
	// read fills p with the content that comes next. At the end of the stream it returns [io.EOF], and src
	// stands on the first byte behind it. Other errors are [ErrDeflate], [io.ErrUnexpectedEOF] where src ends
	// before the stream does, or those of src.
	read(p []byte) (int, error)
	// close frees what is held outside the Go heap.
	close()
}

// NewReader returns a Reader without a stream; see [Reader.Reset]. It has to be closed.
func NewReader() *Reader { return &Reader{inflate: newInflater(), err: io.EOF} }

// Reset makes z read the stream r from its start. It reads nothing yet. A [Source] is read where it lies if the
// implementation can do that.
func (z *Reader) Reset(r io.Reader) {
	src, ok := r.(Source)
	if !ok || !z.inflate.inPlace() {
		z.wrapped.reset(r)
		src = &z.wrapped
	}
	z.src, z.member, z.garbage, z.err = src, false, -1, nil
}

// Close frees what z holds outside the Go heap. It does not close the stream. It may be called twice;
// z must not be used otherwise after.
func (z *Reader) Close() error {
	z.inflate.close()
	z.err = errors.New("gzip: reader is closed")
	return nil
}

// Garbage returns the offset in the compressed stream at which bytes begin that follow the last whole member
// and are none. It has a meaning once Read has returned [io.EOF]. The bytes themselves may not have been read
// from the stream yet.
func (z *Reader) Garbage() (offset int64, ok bool) { return z.garbage, z.garbage >= 0 }

// Read implements [io.Reader]. It is fastest with large p: 128 KiB and more.
// Errors are [*Error], or those of the stream as they are.
func (z *Reader) Read(p []byte) (int, error) {
	for z.err == nil {
		if !z.member {
			z.err = z.begin()
			continue
		}
		n, err := z.inflate.read(p)
		z.crc = crc32.Update(z.crc, crc32.IEEETable, p[:n])
		z.size += uint32(n)
		if err == io.EOF {
			err = z.finish()
		}
		if err != nil {
			z.err = z.explain(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, z.err
}

// begin reads the header of the next member, or finds the end of the stream.
func (z *Reader) begin() error {
	first := z.offset() == 0
	magic, err := z.src.Peek(3)
	switch {
	case len(magic) == 0 && err == io.EOF && !first:
		return io.EOF
	case len(magic) == 3 && magic[0] == 0x1f && magic[1] == 0x8b && magic[2] == deflateMethod:
		if err := z.header(); err != nil {
			return z.explain(err)
		}
		z.crc, z.size, z.member = 0, 0, true
		z.inflate.reset(z.src)
		return nil
	case err != nil && err != io.EOF:
		return z.explain(err)
	case first && err == io.EOF:
		return z.explain(ErrTruncated)
	case first:
		return z.explain(ErrHeader)
	}
	return z.padding()
}

// padding skips zero bytes up to the end of the stream, and notes where something else begins.
func (z *Reader) padding() error {
	for {
		b, err := z.src.ReadByte()
		if err != nil {
			return err // io.EOF: it was padding only
		}
		if b != 0 {
			z.garbage = z.offset() - 1
			return io.EOF
		}
	}
}

// finish checks the trailer of the member: CRC-32 and length of its content (RFC 1952, 2.3.1).
func (z *Reader) finish() error {
	z.member = false
	var trailer [8]byte
	if _, err := io.ReadFull(z.src, trailer[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(trailer[:4]) != z.crc {
		return ErrChecksum
	}
	if binary.LittleEndian.Uint32(trailer[4:]) != z.size {
		return ErrLength
	}
	return nil
}

// explain turns an error met while reading the stream into what Read returns: an error of the source
// as it is, all others with their place.
func (z *Reader) explain(err error) error {
	if err := z.src.Err(); err != nil {
		return err
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = ErrTruncated
	}
	return &Error{Offset: z.offset(), Err: err}
}

// offset returns the position in the compressed stream.
func (z *Reader) offset() int64 { return z.src.Offset() }
