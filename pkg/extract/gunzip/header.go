package gunzip

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// The fields of a member header that matter here (RFC 1952, 2.3).
const (
	deflateMethod = 8 // CM

	flagHeaderCRC = 1 << 1 // FLG
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
	flagReserved  = 0xe0

	// textBytes bounds the file name and the comment, which have no length of their own.
	textBytes = 64 << 10
)

// header reads a member header and leaves the source at the deflate stream.
func (z *Reader) header() error {
	h := headerReader{z: z}
	fixed := h.next(10) // ID1 ID2 CM FLG MTIME(4) XFL OS
	if h.err != nil {
		return h.err
	}
	flags := fixed[3]
	if flags&flagReserved != 0 {
		return ErrHeader // "must give an error indication", RFC 1952, 2.3.1.2
	}
	if flags&flagExtra != 0 {
		if length := h.next(2); h.err == nil {
			h.next(int(binary.LittleEndian.Uint16(length)))
		}
	}
	if flags&flagName != 0 {
		h.text()
	}
	if flags&flagComment != 0 {
		h.text()
	}
	if sum := uint16(h.crc); flags&flagHeaderCRC != 0 {
		if stored := h.next(2); h.err == nil && binary.LittleEndian.Uint16(stored) != sum {
			return ErrHeader
		}
	}
	return h.err
}

// headerReader reads the parts of a header and sums them. After an error it reads nothing more.
type headerReader struct {
	z   *Reader
	crc uint32
	err error
}

// next reads n bytes. They are valid only when err is nil.
func (h *headerReader) next(n int) []byte {
	if h.err != nil {
		return nil
	}
	b := make([]byte, n)
	_, h.err = io.ReadFull(h.z.src, b)
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b)
	return b
}

// text reads up to and including a zero byte.
func (h *headerReader) text() {
	for range textBytes {
		if b := h.next(1); h.err != nil || b[0] == 0 {
			return
		}
	}
	h.err = ErrHeader
}
