// Package unxz provides a reader of xz streams (https://tukaani.org/xz/xz-file-format.txt, version 1.2) whose memory
// is bounded by whoever reads: each block's dictionary is asked for before it is made.
//
// The container is read here; LZMA2 is left to github.com/ulikunitz/xz/lzma. Other filters than LZMA2, which layers
// do not use, are not supported.
package unxz

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

var (
	// ErrFormat is wrapped by the errors for streams that break the format.
	ErrFormat = errors.New("invalid xz stream")
	// ErrUnsupported is wrapped by the errors for streams that are well-formed and use what is not supported.
	ErrUnsupported = errors.New("not supported in an xz stream")
)

// byteReader is what streams are read from.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// Reader reads a sequence of xz streams and the padding between and after them. It is not safe for concurrent use.
type Reader struct {
	src    *countingReader
	demand func(dictBytes int64) error
	dict   int64 // that was granted
	first  bool  // no stream has begun yet

	inStream bool
	check    byte        // its type
	blocks   indexDigest // of the stream so far
	block    *block
	err      error
}

// NewReader returns a Reader of r. Before a block is read that needs a larger dictionary than those before, demand is
// called; the dictionary before is free by then. The error of demand ends the reading, and so do those of r; all come
// as they are. A stream that ends too early is [io.ErrUnexpectedEOF]. The Reader has to be closed.
func NewReader(r io.Reader, demand func(dictBytes int64) error) *Reader {
	src, ok := r.(byteReader)
	if !ok {
		src = bufio.NewReader(r)
	}
	return &Reader{src: &countingReader{r: src}, demand: demand, first: true}
}

// Close frees the dictionary. It does not close the stream.
func (x *Reader) Close() {
	x.block = nil
	if x.err == nil {
		x.err = errors.New("xz: reader is closed")
	}
}

// Read implements [io.Reader].
func (x *Reader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.Read(p)
		if err == io.EOF {
			x.block, err = nil, x.finish()
		}
		x.err = unexpected(err)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// next moves to the next block, through the end of a stream and the beginning of another, or returns [io.EOF].
func (x *Reader) next() error {
	if !x.inStream {
		if err := x.header(); err != nil {
			return err
		}
	}
	x.src.n = 0
	size, err := x.src.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if size == 0 { // the indicator of the index
		x.inStream = false
		return unexpected(x.trailer())
	}
	h, err := x.blockHeader(size)
	if err != nil {
		return unexpected(err)
	}
	x.block, err = x.newBlock(h)
	return unexpected(err)
}

// blockHeader is what counts of a block header. Sizes are -1 where it does not say.
type blockHeader struct {
	bytes                    int64 // of the header itself
	compressed, uncompressed int64
	dict                     int64
}

// block is the content of a block.
type block struct {
	io.Reader
	header blockHeader
	n      int64 // bytes of content so far
	sum    hash.Hash
}

func (x *Reader) newBlock(h blockHeader) (*block, error) {
	dict := h.dict
	if h.uncompressed >= 0 {
		dict = min(dict, h.uncompressed) // no match reaches farther back
	}
	dict = max(dict, lzma.MinDictCap)
	if dict > x.dict {
		if err := x.demand(dict); err != nil {
			return nil, err
		}
		x.dict = dict
	}
	r, err := lzma.Reader2Config{DictCap: int(dict)}.NewReader2(x.src)
	if err != nil {
		return nil, err
	}
	return &block{Reader: r, header: h, sum: newCheck(x.check)}, nil
}

func (b *block) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.n += int64(n)
	b.sum.Write(p[:n])
	if b.header.uncompressed >= 0 && b.n > b.header.uncompressed {
		return n, invalid("block is longer than its header says")
	}
	return n, err
}

// finish reads what follows the content of the block: padding and check.
func (x *Reader) finish() error {
	b := x.block
	compressed := x.src.n - b.header.bytes
	if b.header.compressed >= 0 && compressed != b.header.compressed || b.header.uncompressed >= 0 && b.n != b.header.uncompressed {
		return invalid("block of another length than its header says")
	}
	if err := x.padding(compressed); err != nil {
		return err
	}
	want := make([]byte, b.sum.Size())
	if _, err := io.ReadFull(x.src, want); err != nil {
		return err
	}
	if !checkEqual(x.check, b.sum, want) {
		return invalid("block does not have its checksum")
	}
	x.blocks.add(uint64(b.header.bytes+compressed+int64(len(want))), uint64(b.n))
	return nil
}

// padding reads the zero bytes that fill up n bytes to a multiple of four.
func (x *Reader) padding(n int64) error {
	for ; n%4 != 0; n++ {
		if c, err := x.src.ReadByte(); err != nil || c != 0 {
			return cmpErr(err, invalid("padding is not zero"))
		}
	}
	return nil
}

// cmpErr returns err if there is one, else other.
func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func invalid(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%s %w", fmt.Sprintf(format, args...), ErrUnsupported)
}

// unexpected is for where a stream must not end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// countingReader counts the bytes that are read.
type countingReader struct {
	r byteReader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
