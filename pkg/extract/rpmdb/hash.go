package rpmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Berkeley DB, hash access method. Structures are those of its src/dbinc/db_page.h.
var (
	hashMagicLE = []byte{0x61, 0x15, 0x06, 0x00}
	hashMagicBE = []byte{0x00, 0x06, 0x15, 0x61}
)

const (
	hashMetaBytes   = 72 // of the metadata page, as far as it is read
	pageHeaderBytes = 26

	pageHashUnsorted = 2
	pageOverflow     = 7
	pageHashMeta     = 8
	pageHash         = 13

	itemKeyData = 1 // the value itself
	itemOffPage = 3 // the number of the overflow page where the value begins, and its length

	offPageBytes = 12
)

// hash is a database in Berkeley DB's hash format.
type hash struct {
	*file
	order    binary.ByteOrder
	pageSize int64
	lastPage int64
}

func openHash(f *file, bigEndian bool) (iter.Seq2[[]byte, error], error) {
	h := hash{file: f, order: binary.LittleEndian}
	if bigEndian {
		h.order = binary.BigEndian
	}
	var meta [hashMetaBytes]byte
	if err := h.at(meta[:], 0); err != nil {
		return nil, damaged(err)
	}
	h.pageSize, h.lastPage = int64(h.order.Uint32(meta[20:])), int64(h.order.Uint32(meta[32:]))
	switch {
	case meta[24] != 0:
		return nil, fault.Newf(fault.Unsupported, "read", "rpm database", "it is encrypted")
	case meta[25] != pageHashMeta:
		return nil, damaged(fmt.Errorf("page 0 is of type %d", meta[25]))
	case h.pageSize < 512 || h.pageSize > 64<<10 || h.pageSize&(h.pageSize-1) != 0:
		return nil, damaged(fmt.Errorf("pages of %d bytes", h.pageSize))
	}
	return h.headers, nil
}

// headers looks for values on all hash pages: which bucket a page belongs to does not matter.
func (h *hash) headers(yield func([]byte, error) bool) {
	page := make([]byte, h.pageSize)
	pages := h.r.Size() / h.pageSize
	for n := int64(1); n <= h.lastPage && n < pages; n++ {
		if err := h.at(page, n*h.pageSize); err != nil {
			yield(nil, bad(err, "page %d", n))
			return
		}
		if t := page[25]; t != pageHash && t != pageHashUnsorted {
			continue
		}
		if !h.page(n, page, yield) {
			return
		}
	}
	if h.lastPage >= pages {
		yield(nil, bad(errBeyond, "pages %d to %d", pages, h.lastPage))
	}
}

// page yields the values on a hash page. Its items are pairs of key and value, found by an array of offsets.
func (h *hash) page(number int64, page []byte, yield func([]byte, error) bool) bool {
	entries := int(h.order.Uint16(page[20:]))
	if entries%2 != 0 || pageHeaderBytes+2*entries > len(page) {
		return yield(nil, bad(fmt.Errorf("%d items", entries), "page %d", number))
	}
	offset := func(item int) int { return int(h.order.Uint16(page[pageHeaderBytes+2*item:])) }
	for i := 0; i < entries; i += 2 {
		value, err := h.value(page, offset(i), offset(i+1))
		if err != nil {
			err = bad(err, "item %d of page %d", i+1, number)
		} else if len(value) == 4 {
			continue // under the key 0: the highest number given to a package so far
		}
		if !yield(value, err) || err != nil && !isBadRecord(err) {
			return false
		}
	}
	return true
}

// value returns the value of the pair whose key and value begin at the offsets. Items fill a page from its end,
// so a value ends where its key begins.
func (h *hash) value(page []byte, key, offset int) ([]byte, error) {
	if offset < pageHeaderBytes || offset >= len(page) {
		return nil, errors.New("not on the page")
	}
	switch t := page[offset]; t {
	case itemKeyData:
		if key <= offset || key > len(page) {
			return nil, errors.New("key before its value")
		}
		return page[offset+1 : key], h.charge(int64(key - offset))
	case itemOffPage:
		if offset+offPageBytes > len(page) {
			return nil, errors.New("not on the page")
		}
		return h.overflow(int64(h.order.Uint32(page[offset+4:])), int64(h.order.Uint32(page[offset+8:])))
	default:
		return nil, fmt.Errorf("item of type %d", t)
	}
}

// overflow returns a value of that many bytes that begins on that page and goes on from page to page.
func (h *hash) overflow(page, size int64) ([]byte, error) {
	value, err := h.begin(size)
	if err != nil {
		return nil, err
	}
	for page != 0 {
		var header [pageHeaderBytes]byte
		if err := h.at(header[:], page*h.pageSize); err != nil {
			return nil, err
		}
		length := int64(h.order.Uint16(header[22:]))
		if header[25] != pageOverflow || length == 0 || length > h.pageSize-pageHeaderBytes || int64(len(value))+length > size {
			return nil, fmt.Errorf("page %d does not continue it", page)
		}
		end := int64(len(value)) + length
		if err := h.at(value[len(value):end], page*h.pageSize+pageHeaderBytes); err != nil {
			return nil, err
		}
		value = value[:end]
		page = int64(h.order.Uint32(header[16:]))
	}
	if int64(len(value)) != size {
		return nil, fmt.Errorf("%d bytes of %d", len(value), size)
	}
	return value, nil
}

// damaged is the error for a file that cannot be read at all.
func damaged(err error) error {
	if e := (*readError)(nil); errors.As(err, &e) {
		return e.err
	}
	return fault.New(fault.Corrupt, "read", "rpm database", err)
}
