// Package untar provides a walk over the entries of a tar archive that costs next to nothing for the entries that
// nobody wants: their content is skipped where it lies, and what counts of their headers is read in place.
//
// It reads what [archive/tar] reads, with which container engines unpack layers, and gives the same names, types
// and contents: ustar, PAX, GNU, star and v7 headers, and all GNU sparse formats. A fuzz test compares the two.
// Owners, modes, times and extended attributes are not looked at, so that an archive in which only those are
// malformed is read nevertheless. Names are given as they are; nothing is written.
package untar

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The reasons for which an archive is refused. They come wrapped in an [*Error].
var (
	ErrHeader    = errors.New("invalid header")
	ErrTruncated = errors.New("unexpected end of archive")
)

// Error says where in the archive which rule is broken. Its kind is [fault.Corrupt], or [fault.Unsupported]
// where the very first bytes are no header: then it is something else and no archive.
type Error struct {
	Offset int64 // in bytes, from the start of the archive
	Err    error // one of the reasons above
}

func (e *Error) Error() string {
	if e.FaultKind() == fault.Unsupported {
		return "not a tar archive"
	}
	return fmt.Sprintf("tar at byte %d: %v", e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// FaultKind tells whether this is a broken archive or none.
func (e *Error) FaultKind() fault.Kind {
	if e.Offset == 0 && errors.Is(e.Err, ErrHeader) {
		return fault.Unsupported
	}
	return fault.Corrupt
}

// Type is the type of an entry. It has the values of the type flags of [archive/tar].
type Type byte

// The types.
const (
	File    Type = tar.TypeReg
	Link    Type = tar.TypeLink // a hard link
	Symlink Type = tar.TypeSymlink
	Dir     Type = tar.TypeDir
)

// Entry is an entry of an archive.
type Entry struct {
	Name   []byte // as it stands in the archive; valid until the next entry
	Target []byte // of a link, likewise
	Type   Type   // one of the above, or another for what is none of them
	Size   int64  // in bytes, that the content of a file takes in the archive; less than the file if that is sparse
}

const (
	blockBytes = 512
	// maxSpecialBytes bounds a long name, a PAX header and a sparse map, as [archive/tar] does.
	maxSpecialBytes = 1 << 20
)

// Walker walks over the entries of an archive. It is not safe for concurrent use.
type Walker struct {
	r      *bufio.Reader
	offset int64 // of r in the archive
	left   int64 // of the content of the current entry, with its padding
	pad    int64 // the padding alone: it may be missing at the end

	entry  Entry
	sparse bool   // the content of the current entry is sparse
	raw    []byte // headers of a sparse entry

	// what the headers before the main one said, if anything
	longName, longTarget []byte
	pax                  paxRecords
	paxRaw               []byte
}

// NewWalker returns a Walker over the archive that r holds. Content is skipped fastest if r has a large buffer.
func NewWalker(r *bufio.Reader) *Walker { return &Walker{r: r} }

// Next returns the next entry, or [io.EOF] behind the last. The Entry is valid until the next call.
// Errors are [*Error], or those of the source as they are.
func (w *Walker) Next() (*Entry, error) {
	w.longName, w.longTarget, w.paxRaw = w.longName[:0], w.longTarget[:0], w.paxRaw[:0]
	w.pax = paxRecords{}
	for {
		if err := w.skip(); err != nil {
			return nil, err
		}
		block, err := w.header()
		if err != nil {
			return nil, err
		}
		special, err := w.special(block)
		if err != nil {
			return nil, err
		}
		if !special {
			return w.main(block)
		}
	}
}

// Open returns the content of the current entry, a file. It may be read until the next call of Next, which skips
// what was not read. The holes of a sparse file are read as zero bytes.
func (w *Walker) Open() (io.Reader, error) {
	if !w.sparse {
		return &content{w, w.left - w.pad}, nil
	}
	// Sparse files are rare and their formats many: archive/tar expands them.
	r := tar.NewReader(io.MultiReader(bytes.NewReader(w.raw), &content{w, w.left}))
	if _, err := r.Next(); err != nil {
		return nil, w.explain(err)
	}
	return &sparseContent{w, r}, nil
}

// content reads what is left of the content of an entry.
type content struct {
	w    *Walker
	left int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.w.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.w.left -= int64(n)
	c.w.offset += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, c.w.explain(err)
}

type sparseContent struct {
	w *Walker
	r *tar.Reader
}

func (c *sparseContent) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err == io.EOF {
		return n, err
	}
	return n, c.w.explain(err)
}

// skip moves to the next header.
func (w *Walker) skip() error {
	for w.left > 0 {
		n, err := w.r.Discard(int(min(w.left, 1<<30)))
		w.left -= int64(n)
		w.offset += int64(n)
		if err == io.EOF {
			if w.left <= w.pad {
				w.left = 0 // padding that is missing at the very end; the end follows
				break
			}
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return w.explain(err)
		}
	}
	w.pad = 0
	return nil
}

// block returns the next block. It is valid until the next read.
func (w *Walker) block() ([]byte, error) {
	b, err := w.r.Peek(blockBytes)
	if err == io.EOF && len(b) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	w.r.Discard(blockBytes) //nolint:errcheck // it is buffered, and stays so until the next read
	w.offset += blockBytes
	return b, nil
}

// header returns the next header block. Two blocks of zeros are the end of the archive, and so is its plain end.
func (w *Walker) header() ([]byte, error) {
	b, err := w.block()
	if err == io.EOF {
		return nil, io.EOF
	}
	if err != nil {
		return nil, w.explain(err)
	}
	if checksumOK(b) {
		return b, nil
	}
	if !isZero(b) {
		return nil, w.invalid()
	}
	switch b, err = w.block(); {
	case err == io.EOF, err == nil && isZero(b):
		return nil, io.EOF
	case err != nil:
		return nil, w.explain(err)
	}
	return nil, w.invalid()
}

// invalid is the error for the header that was read last.
func (w *Walker) invalid() error { return &Error{w.offset - blockBytes, ErrHeader} }

// explain turns an error met while reading the archive into what is returned.
func (w *Walker) explain(err error) error {
	switch err {
	case io.ErrUnexpectedEOF: //nolint:errorlint // a wrapped one is not about the archive but its source
		return &Error{w.offset, ErrTruncated}
	case tar.ErrHeader, tar.ErrFieldTooLong:
		return &Error{w.offset, ErrHeader}
	}
	return err
}
