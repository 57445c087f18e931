package untar

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
)

// format is a family of header formats, by where they have what.
type format uint8

const (
	v7    format = iota
	ustar        // POSIX ustar and PAX
	star
	gnu
)

func formatOf(b []byte) format {
	switch magic := string(b[257:263]); {
	case magic == "ustar\x00" && string(b[508:512]) == "tar\x00":
		return star
	case magic == "ustar\x00":
		return ustar
	case magic == "ustar " && string(b[263:265]) == " \x00":
		return gnu
	}
	return v7
}

// special takes in a header that only describes the next one, and reports whether b is such a header.
func (w *Walker) special(b []byte) (bool, error) {
	flag := b[156]
	switch flag {
	case tar.TypeXHeader, tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
	default:
		return false, nil
	}
	size, ok := number(b[124:136])
	if !ok {
		return false, w.invalid()
	}
	if flag == tar.TypeXGlobalHeader {
		// Its records are not applied to what follows, nor is what came before it, as in archive/tar.
		w.longName, w.longTarget, w.paxRaw, w.pax = w.longName[:0], w.longTarget[:0], w.paxRaw[:0], paxRecords{}
		w.setContent(size)
		return true, nil
	}
	if size > maxSpecialBytes {
		return false, w.invalid()
	}
	var err error
	switch w.setContent(size); flag {
	case tar.TypeGNULongName:
		w.longName, err = w.text(w.longName[:0])
	case tar.TypeGNULongLink:
		w.longTarget, err = w.text(w.longTarget[:0])
	default:
		w.paxRaw = append(w.paxRaw[:0], b...)
		if w.paxRaw, err = w.append(w.paxRaw); err == nil {
			var ok bool
			if w.pax, ok = parsePAX(w.paxRaw[blockBytes:]); !ok {
				err = w.invalid()
			}
		}
	}
	return true, err
}

// text reads the content of the current entry up to the first zero byte into b.
func (w *Walker) text(b []byte) ([]byte, error) {
	b, err := w.append(b)
	return untilZero(b), err
}

// append reads the content of the current entry behind b.
func (w *Walker) append(b []byte) ([]byte, error) {
	n := len(b)
	size := int(w.left - w.pad)
	b = append(b, make([]byte, size)...)
	_, err := io.ReadFull(&content{w, int64(size)}, b[n:])
	return b, err
}

func (w *Walker) setContent(size int64) {
	w.pad = -size & (blockBytes - 1)
	w.left = size + w.pad
}

// main returns the entry that the header b and those before it describe.
func (w *Walker) main(b []byte) (*Entry, error) {
	size, ok := number(b[124:136])
	if w.pax.size != "" {
		var err error
		size, err = strconv.ParseInt(w.pax.size, 10, 64)
		ok = ok && err == nil
	}
	if !ok || size < 0 {
		return nil, w.invalid()
	}
	f := formatOf(b)
	e := &w.entry
	e.Type, e.Size = Type(b[156]), size
	e.Name = w.name(e.Name[:0], b, f)
	e.Target = pick(e.Target[:0], w.longTarget, w.pax.target, untilZero(b[157:257]))
	w.sparse = w.pax.sparse || e.Type == tar.TypeGNUSparse
	switch e.Type {
	case Link, Symlink, Dir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		e.Size, w.sparse = 0, false // they have no content, whatever the field says
	case tar.TypeGNUSparse:
		if f != gnu {
			return nil, w.invalid() // star uses the flag for another format
		}
		e.Type = File
	case 0: // v7
		if e.Type = File; bytes.HasSuffix(e.Name, []byte{'/'}) {
			e.Type = Dir
		}
	}
	if e.Size > 1<<62 {
		return nil, w.invalid()
	}
	if w.sparse {
		if w.pax.sparseName != "" {
			e.Name = append(e.Name[:0], w.pax.sparseName...)
		}
		if err := w.keep(b); err != nil {
			return nil, err
		}
	}
	w.setContent(e.Size)
	return e, nil
}

// name appends the name of the entry to dst.
func (w *Walker) name(dst, b []byte, f format) []byte {
	if len(w.longName) > 0 || w.pax.name != "" {
		return pick(dst, w.longName, w.pax.name, nil)
	}
	var prefix []byte
	switch f {
	case ustar:
		prefix = untilZero(b[345:500])
	case star:
		prefix = untilZero(b[345:476])
	case gnu:
		// Go's writer before 1.8 put a prefix where this format has times.
		if !isTime(b[345:357]) || !isTime(b[357:369]) {
			if prefix = untilZero(b[345:500]); !isASCII(prefix) {
				prefix = nil
			}
		}
	}
	if len(prefix) > 0 {
		dst = append(append(dst, prefix...), '/')
	}
	return append(dst, untilZero(b[:100])...)
}

// pick appends to dst the first of the three that is not empty.
func pick(dst, long []byte, pax string, field []byte) []byte {
	switch {
	case len(long) > 0:
		return append(dst, long...)
	case pax != "":
		return append(dst, pax...)
	}
	return append(dst, field...)
}

// keep copies the headers of a sparse entry, for archive/tar. The old GNU format has blocks of its own behind
// the header, as long as a byte of the last one says so.
func (w *Walker) keep(b []byte) error {
	w.raw = append(append(w.raw[:0], w.paxRaw...), make([]byte, -len(w.paxRaw)&(blockBytes-1))...)
	w.raw = append(w.raw, b...)
	if b[156] != tar.TypeGNUSparse {
		return nil
	}
	for more := b[482]; more != 0; {
		b, err := w.block()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return w.explain(err)
		}
		if len(w.raw) > maxSpecialBytes {
			return w.invalid()
		}
		w.raw = append(w.raw, b...)
		more = b[504]
	}
	return nil
}

// checksumOK reports whether the header block has the sum that it says. Historically some summed signed bytes.
func checksumOK(b []byte) bool {
	said, ok := octal(b[148:156])
	if !ok {
		return false
	}
	const evenBytes = 0x00ff00ff00ff00ff
	var lanes uint64 // four sums of 16 bits; 128 bytes each do not overflow them
	for i := 0; i < blockBytes; i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		lanes += v&evenBytes + v>>8&evenBytes
	}
	sum := int64(lanes&0xffff + lanes>>16&0xffff + lanes>>32&0xffff + lanes>>48)
	for _, c := range b[148:156] { // the field itself counts as spaces
		sum += ' ' - int64(c)
	}
	if sum == said {
		return true
	}
	sum = 0
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(int8(c))
	}
	return sum == said
}

// number reads a numeric field: octal digits, or two's complement if the first bit is set. It must not be negative.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 == 0 {
		v, ok := octal(b)
		return v, ok && v >= 0
	}
	if b[0]&0x40 != 0 {
		return 0, false // negative
	}
	var v uint64
	for i, c := range b {
		if i == 0 {
			c &= 0x7f
		}
		if v>>56 > 0 {
			return 0, false
		}
		v = v<<8 | uint64(c)
	}
	return int64(v), v>>63 == 0
}

// octal reads octal digits, among spaces and zero bytes. None at all are 0.
func octal(b []byte) (int64, bool) {
	b = untilZero(bytes.Trim(b, " \x00"))
	if len(b) > 21 {
		return 0, false
	}
	var v int64
	for _, c := range b {
		if c < '0' || c > '7' || v>>60 != 0 {
			return 0, false
		}
		v = v<<3 | int64(c-'0')
	}
	return v, true
}

// isTime reports whether a field holds a time, or nothing.
func isTime(b []byte) bool {
	if b[0] == 0 || b[0]&0x80 != 0 {
		return true
	}
	_, ok := octal(b)
	return ok
}

func untilZero(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c == 0 {
			return false
		}
	}
	return true
}

func isZero(b []byte) bool {
	for i := 0; i < blockBytes; i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != 0 {
			return false
		}
	}
	return true
}
