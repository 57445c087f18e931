package rpmdb

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// SUSE's ndb, as rpm's lib/backend/ndb/rpmpkg.c describes it. All numbers are little-endian.
var ndbMagic = []byte("RpmP")

const (
	ndbSlotMagic = 'S' | 'l'<<8 | 'o'<<16 | 't'<<24
	ndbBlobMagic = 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24

	ndbPageBytes   = 4096
	ndbSlotBytes   = 16
	ndbHeaderBytes = 2 * ndbSlotBytes // it takes the place of the first two slots
	ndbBlockBytes  = 16               // blobs begin at multiples of it
	ndbBlobBytes   = 16               // before the header itself
)

// ndb is a database in ndb format: pages of slots, each of which says where the header of a package is.
type ndb struct {
	*file
	slotPages int64
}

func openNDB(f *file) (iter.Seq2[[]byte, error], error) {
	var header [ndbHeaderBytes]byte
	if err := f.at(header[:], 0); err != nil {
		return nil, damaged(err)
	}
	if v := binary.LittleEndian.Uint32(header[4:]); v != 0 {
		return nil, fault.Newf(fault.Unsupported, "read", "rpm database", "ndb of version %d", v)
	}
	d := ndb{f, int64(binary.LittleEndian.Uint32(header[12:]))}
	if d.slotPages == 0 || d.slotPages > f.r.Size()/ndbPageBytes {
		return nil, damaged(fmt.Errorf("%d slot pages", d.slotPages))
	}
	return d.headers, nil
}

func (d *ndb) headers(yield func([]byte, error) bool) {
	page := make([]byte, ndbPageBytes)
	for n := range d.slotPages {
		if err := d.at(page, n*ndbPageBytes); err != nil {
			yield(nil, bad(err, "slot page %d", n))
			return
		}
		slots := page
		if n == 0 {
			slots = page[ndbHeaderBytes:]
		}
		for number := 0; len(slots) > 0; slots = slots[ndbSlotBytes:] {
			number++
			header, err := d.slot(slots[:ndbSlotBytes])
			if header == nil && err == nil {
				continue
			}
			if err != nil {
				err = bad(err, "slot %d of page %d", number, n)
			}
			if !yield(header, err) || err != nil && !isBadRecord(err) {
				return
			}
		}
	}
}

// slot returns the header that the slot points to, or nil for a slot that is free.
func (d *ndb) slot(slot []byte) ([]byte, error) {
	if magic := binary.LittleEndian.Uint32(slot); magic != ndbSlotMagic {
		return nil, fmt.Errorf("it begins with %#x", magic)
	}
	index := binary.LittleEndian.Uint32(slot[4:])
	if index == 0 {
		return nil, nil
	}
	offset := int64(binary.LittleEndian.Uint32(slot[8:])) * ndbBlockBytes
	var blob [ndbBlobBytes]byte
	if err := d.at(blob[:], offset); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(blob[:]) != ndbBlobMagic || binary.LittleEndian.Uint32(blob[4:]) != index {
		return nil, fmt.Errorf("package %d is not where it should be", index)
	}
	size := int64(binary.LittleEndian.Uint32(blob[12:]))
	header, err := d.begin(size)
	if err != nil {
		return nil, err
	}
	header = header[:size]
	return header, d.at(header, offset+ndbBlobBytes)
}
