package unxz

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"
)

const (
	streamHeaderBytes = 12 // magic 6, flags 2, CRC 4
	streamFooterBytes = 12 // CRC 4, size of the index 4, flags 2, magic 2

	filterLZMA2 = 0x21

	checkNone, checkCRC32, checkCRC64, checkSHA256 = 0, 1, 4, 10

	maxVarintBytes = 9
)

var (
	headerMagic = []byte("\xfd7zXZ\x00")
	footerMagic = []byte("YZ")
	crc64Table  = crc64.MakeTable(crc64.ECMA)
)

// header reads the header of the next stream and the padding before it. The end of all is [io.EOF].
func (x *Reader) header() error {
	var b [streamHeaderBytes]byte
	for {
		if _, err := io.ReadFull(x.src, b[:4]); err != nil {
			if err == io.EOF && x.first {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if x.first || [4]byte(b[:4]) != [4]byte{} {
			break // no padding
		}
	}
	if _, err := io.ReadFull(x.src, b[4:]); err != nil {
		return unexpected(err)
	}
	switch {
	case !slices.Equal(b[:6], headerMagic):
		return invalid("no stream header")
	case crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]):
		return invalid("stream header does not have its checksum")
	case b[6] != 0 || b[7] > 0xf || newCheck(b[7]) == nil:
		return unsupported("stream flags %#x", b[6:8])
	}
	x.first, x.inStream, x.check, x.blocks = false, true, b[7], indexDigest{}
	return nil
}

// blockHeader reads the header of a block, whose first byte is given.
func (x *Reader) blockHeader(size byte) (blockHeader, error) {
	h := blockHeader{bytes: (int64(size) + 1) * 4, compressed: -1, uncompressed: -1}
	b := make([]byte, h.bytes)
	b[0] = size
	if _, err := io.ReadFull(x.src, b[1:]); err != nil {
		return h, err
	}
	b, sum := b[:h.bytes-4], b[h.bytes-4:]
	if crc32.ChecksumIEEE(b) != binary.LittleEndian.Uint32(sum) {
		return h, invalid("block header does not have its checksum")
	}
	flags := b[1]
	if flags&0x3f != 0 {
		return h, unsupported("block flags %#x", flags) // more than one filter, or what is reserved
	}
	p := parser{b: b[2:]}
	if flags&0x40 != 0 {
		h.compressed = int64(p.varint())
	}
	if flags&0x80 != 0 {
		h.uncompressed = int64(p.varint())
	}
	if filter := p.varint(); p.ok() && filter != filterLZMA2 {
		return h, unsupported("filter %#x", filter)
	}
	if length := p.varint(); p.ok() && length != 1 {
		return h, invalid("properties of LZMA2")
	}
	bits := p.byte()
	if !p.ok() || bits > 40 {
		return h, invalid("block header")
	}
	for range p.b {
		if p.byte() != 0 {
			return h, unsupported("block header with more fields")
		}
	}
	h.dict = 1<<32 - 1
	if bits < 40 {
		h.dict = (2 | int64(bits&1)) << (bits/2 + 11)
	}
	return h, nil
}

// trailer reads the index behind its indicator and the footer of the stream, and holds them to what was read.
func (x *Reader) trailer() error {
	sum := crc32.NewIEEE()
	sum.Write([]byte{0})
	src := x.src
	x.src = &countingReader{r: &summing{src, sum}, n: src.n}
	defer func() { x.src = src }()

	records, err := x.varint()
	if err != nil {
		return err
	}
	if records != x.blocks.records {
		return invalid("index of another number of blocks")
	}
	var index indexDigest
	for range records {
		unpadded, err := x.varint()
		if err != nil {
			return err
		}
		uncompressed, err := x.varint()
		if err != nil {
			return err
		}
		index.add(unpadded, uncompressed)
	}
	if index != x.blocks {
		return invalid("index does not fit the blocks")
	}
	if err := x.padding(x.src.n); err != nil {
		return err
	}
	size, want := x.src.n+4, sum.Sum32()
	var b [4 + streamFooterBytes]byte
	if _, err := io.ReadFull(src, b[:]); err != nil {
		return unexpected(err)
	}
	footer := b[4:]
	switch {
	case binary.LittleEndian.Uint32(b[:]) != want:
		return invalid("index does not have its checksum")
	case !slices.Equal(footer[10:], footerMagic):
		return invalid("no stream footer")
	case crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer):
		return invalid("stream footer does not have its checksum")
	case (int64(binary.LittleEndian.Uint32(footer[4:]))+1)*4 != size, footer[8] != 0, footer[9] != x.check:
		return invalid("stream footer does not fit the stream")
	}
	return nil
}

// varint reads a number from the stream.
func (x *Reader) varint() (uint64, error) {
	var v uint64
	for i := range maxVarintBytes {
		c, err := x.src.ReadByte()
		if err != nil {
			return 0, err
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				break
			}
			return v, nil
		}
	}
	return 0, invalid("number")
}

// parser reads numbers and bytes. After an error it returns zeros.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) ok() bool { return !p.bad }

func (p *parser) byte() byte {
	if len(p.b) == 0 {
		p.bad = true
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *parser) varint() uint64 {
	v, n := binary.Uvarint(p.b[:min(len(p.b), maxVarintBytes)])
	if n <= 0 {
		p.bad = true
		return 0
	}
	p.b = p.b[n:]
	return v
}

// indexDigest stands for a list of blocks: how many, and a hash of their sizes.
type indexDigest struct {
	records, hash uint64
}

func (d *indexDigest) add(unpadded, uncompressed uint64) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], unpadded)
	binary.LittleEndian.PutUint64(b[8:], uncompressed)
	d.records++
	d.hash = crc64.Update(d.hash, crc64Table, b[:])
}

// newCheck returns the hash of that type, or nil.
func newCheck(kind byte) hash.Hash {
	switch kind {
	case checkNone:
		return noCheck{}
	case checkCRC32:
		return crc32.NewIEEE()
	case checkCRC64:
		return crc64.New(crc64Table)
	case checkSHA256:
		return sha256.New()
	}
	return nil
}

// checkEqual reports whether sum is want, which xz writes little-endian if it is a CRC.
func checkEqual(kind byte, sum hash.Hash, want []byte) bool {
	got := sum.Sum(nil)
	if kind != checkSHA256 {
		slices.Reverse(got)
	}
	return slices.Equal(got, want)
}

// noCheck is the hash of nothing.
type noCheck struct{}

func (noCheck) Write(p []byte) (int, error) { return len(p), nil }
func (noCheck) Sum(b []byte) []byte         { return b }
func (noCheck) Reset()                      {}
func (noCheck) Size() int                   { return 0 }
func (noCheck) BlockSize() int              { return 1 }

// summing sums what is read.
type summing struct {
	r   byteReader
	sum hash.Hash
}

func (s *summing) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	return n, err
}

func (s *summing) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.sum.Write([]byte{c})
	}
	return c, err
}
