package rpmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The write-ahead log of SQLite, https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
const (
	logMagic       = 0x377f0682 // its last bit tells the byte order of checksums: 1 is big-endian
	logVersion     = 3007000
	logHeaderBytes = 32
	logFrameBytes  = 24 // before each page
)

// log is a write-ahead log: pages that replace those of the database.
type log struct {
	file
	pages map[int64]int64 // where the last committed version of a page is
}

// page returns where in the log the page is. The log may be nil.
func (l *log) page(number int64) (offset int64, ok bool) {
	if l == nil {
		return 0, false
	}
	offset, ok = l.pages[number]
	return offset, ok
}

// readLog reads which pages are in a log. Frames count up to the last commit before the first that is not valid:
// those behind are left over from earlier use, or were never finished.
func readLog(r *io.SectionReader, pageSize int64) (*log, error) {
	l := &log{file: file{r: r}, pages: make(map[int64]int64)}
	var header [logHeaderBytes]byte
	if r.Size() < logHeaderBytes {
		return l, nil // as after a checkpoint
	}
	if err := l.at(header[:], 0); err != nil {
		return nil, err
	}
	magic := binary.BigEndian.Uint32(header[:])
	sum := checksum{order: binary.LittleEndian}
	if magic&1 == 1 {
		sum.order = binary.BigEndian
	}
	sum.add(header[:24])
	switch {
	case magic&^1 != logMagic || !sum.is(header[24:]):
		return l, nil // SQLite does not look at such a log either
	case binary.BigEndian.Uint32(header[4:]) != logVersion:
		return nil, errors.New("write-ahead log of an unknown version")
	case int64(binary.BigEndian.Uint32(header[8:])) != pageSize:
		return nil, fmt.Errorf("write-ahead log with pages of %d bytes", binary.BigEndian.Uint32(header[8:]))
	}
	frame := make([]byte, logFrameBytes+pageSize)
	pending := make(map[int64]int64) // written since the last commit
	for at := int64(logHeaderBytes); at+int64(len(frame)) <= r.Size(); at += int64(len(frame)) {
		if err := l.at(frame, at); err != nil {
			return nil, err
		}
		sum.add(frame[:8])
		sum.add(frame[logFrameBytes:])
		if [8]byte(frame[8:16]) != [8]byte(header[16:24]) || !sum.is(frame[16:]) {
			break
		}
		pending[int64(binary.BigEndian.Uint32(frame))] = at + logFrameBytes
		if pages := binary.BigEndian.Uint32(frame[4:]); pages != 0 { // a commit
			for page, at := range pending {
				l.pages[page] = at
			}
			clear(pending)
		}
	}
	return l, nil
}

// checksum is the running checksum of a log.
type checksum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

// add takes in b, whose length is a multiple of 8.
func (c *checksum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		c.s0 += c.order.Uint32(b) + c.s1
		c.s1 += c.order.Uint32(b[4:]) + c.s0
	}
}

// is reports whether the checksum is the one stored in b.
func (c *checksum) is(b []byte) bool {
	return c.s0 == binary.BigEndian.Uint32(b) && c.s1 == binary.BigEndian.Uint32(b[4:])
}
