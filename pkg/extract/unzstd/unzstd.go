// Package unzstd provides a reader of zstd streams (RFC 8878) whose memory is bounded by whoever reads: each
// frame's window is asked for before it is made.
//
// The frames are told apart here; what is in one is left to github.com/klauspost/compress/zstd. Frames that need a
// dictionary are not supported, and layers have none.
package unzstd

import (
	"bufio"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

// source is what streams are read from; [bufio.Reader] is one.
type source interface {
	io.Reader
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
}

// Reader reads a sequence of zstd frames, and skips those that are to be skipped. Its window can be used for other
// streams; see [Reader.Reset]. It is not safe for concurrent use.
type Reader struct {
	src     source
	demand  func(windowBytes int64) error
	granted int64 // by demand, for this stream
	decoder *zstd.Decoder
	window  int64 // of the decoder
	frame   frame
	inFrame bool
	err     error // what Read returns from now on
}

// NewReader returns a Reader without a stream. It holds no memory to speak of before it reads one.
func NewReader() *Reader { return &Reader{err: io.EOF} }

// Reset makes z read the stream r from its start. It reads nothing yet.
//
// Before a frame is read that needs a larger window than those before, demand is called with its size, which is at
// least that of the window that z has of former streams. Where that is too small it is free by then. The error of
// demand ends the reading, and so do those of r; all come as they are. A stream that ends too early is
// [io.ErrUnexpectedEOF]; what else is wrong are errors of package zstd.
func (z *Reader) Reset(r io.Reader, demand func(windowBytes int64) error) {
	src, ok := r.(source)
	if !ok {
		src = bufio.NewReader(r)
	}
	*z = Reader{src: src, demand: demand, decoder: z.decoder, window: z.window}
}

// Detach makes z forget its stream, and frees its window if that is larger than so many bytes.
func (z *Reader) Detach(keepBytes int64) {
	*z = Reader{decoder: z.decoder, window: z.window, err: io.EOF}
	if z.decoder == nil {
		return
	}
	if z.window > keepBytes || z.decoder.Reset(nil) != nil {
		z.drop()
	}
}

// drop frees the window.
func (z *Reader) drop() {
	if z.decoder != nil {
		z.decoder.Close()
	}
	z.decoder, z.window = nil, 0
}

// Read implements [io.Reader].
func (z *Reader) Read(p []byte) (int, error) {
	for z.err == nil {
		if !z.inFrame {
			z.err = z.next()
			continue
		}
		n, err := z.decoder.Read(p)
		if err == io.EOF { // of the frame
			z.inFrame, err = false, nil
		}
		z.err = err
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	return 0, z.err
}

// next moves to the next frame that has content. The end of all is [io.EOF].
func (z *Reader) next() error {
	for {
		head, err := z.src.Peek(zstd.HeaderMaxSize)
		if err != nil && (err != io.EOF || len(head) == 0) {
			return err
		}
		var h zstd.Header
		if err := h.Decode(head); err != nil {
			return err
		}
		if !h.Skippable {
			return z.begin(h)
		}
		if _, err := z.src.Discard(h.HeaderSize + int(h.SkippableSize)); err != nil {
			return unexpected(err)
		}
	}
}

// begin prepares for a frame.
func (z *Reader) begin(h zstd.Header) error {
	window := h.WindowSize
	if h.SingleSegment { // then the content is the window
		window = max(h.FrameContentSize, zstd.MinWindowSize)
	}
	if err := z.grow(int64(min(window, math.MaxInt64))); err != nil {
		return err
	}
	z.frame = frame{src: z.src, left: int64(h.HeaderSize), checksum: h.HasCheckSum}
	z.inFrame = true
	return z.decoder.Reset(&z.frame)
}

// grow sees to a decoder for windows of so many bytes.
func (z *Reader) grow(window int64) error {
	if window > z.window {
		z.drop()
	}
	window = max(window, z.window)
	if window > z.granted {
		if err := z.demand(window); err != nil {
			return err
		}
		z.granted = window
	}
	if z.decoder != nil {
		return nil
	}
	var err error
	z.decoder, err = zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(window)))
	z.window = window
	return err
}

// frame reads a frame of the source and nothing behind it.
type frame struct {
	src      source
	left     int64 // bytes up to the header of the next block, or to the end
	last     bool  // there is no other block
	checksum bool  // one follows the last block
}

// Read implements [io.Reader].
func (f *frame) Read(p []byte) (int, error) {
	if f.left == 0 {
		if f.last {
			return 0, io.EOF
		}
		if err := f.block(); err != nil {
			return 0, err
		}
	}
	n, err := f.src.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, unexpected(err)
}

// block looks at the header of a block for its size (RFC 8878, 3.1.1.2).
func (f *frame) block() error {
	const (
		headerBytes, checksumBytes = 3, 4
		typeRLE                    = 1
	)
	b, err := f.src.Peek(headerBytes)
	if err != nil {
		return unexpected(err)
	}
	header := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	size := int64(header >> 3)
	if header>>1&3 == typeRLE {
		size = 1
	}
	f.left, f.last = headerBytes+size, header&1 != 0
	if f.last && f.checksum {
		f.left += checksumBytes
	}
	return nil
}

// unexpected is for where a stream must not end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
