// Package lines provides a reader of text files by line, in bounded memory whatever the file holds.
//
// It does not interpret the lines.
package lines

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxBytes is the length up to which a line is returned whole.
const MaxBytes = 16 << 10

// Reader reads the lines of a text file. It is not safe for concurrent use.
type Reader struct {
	r      *bufio.Reader
	number int
	cut    bool
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, MaxBytes)} }

// Next returns the next line, without its end ("\n" or "\r\n"). It is valid until the next call.
// Of a line longer than [MaxBytes] only the beginning is returned; see [Reader.Cut]. A last line without end
// is returned like the others. After the last line Next returns [io.EOF]; other errors are those of the source.
func (r *Reader) Next() ([]byte, error) {
	line, err := r.r.ReadSlice('\n')
	r.number++
	r.cut = errors.Is(err, bufio.ErrBufferFull)
	if r.cut {
		line = bytes.Clone(line)
		if err := r.skip(); err != nil {
			return nil, err
		}
		return line, nil
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// skip reads the rest of the line.
func (r *Reader) skip() error {
	for {
		_, err := r.r.ReadSlice('\n')
		switch {
		case err == nil || err == io.EOF:
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// Number returns the number of the line that Next returned last. The first is 1.
func (r *Reader) Number() int { return r.number }

// Cut reports whether the line that Next returned last is but the beginning of a longer one.
func (r *Reader) Cut() bool { return r.cut }
