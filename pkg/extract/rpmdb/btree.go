package rpmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// rows yields the rows of the table that begins at the page. They are valid until the next one. An error that
// is no bad record is the last.
func (d *sqlite) rows(root int64, yield func([]byte, error) bool) {
	w := walk{sqlite: d, seen: make(map[int64]bool), yield: yield}
	w.page(root, 0)
}

// walk is one way through the tree of a table.
type walk struct {
	*sqlite
	seen  map[int64]bool
	yield func([]byte, error) bool
}

// page yields the rows below a page. It returns false when the walk is to end.
func (w *walk) page(number int64, depth int) bool {
	page := make([]byte, w.pageSize)
	err := w.read(page, number)
	switch {
	case err != nil:
	case w.seen[number]:
		err = errors.New("it is in the tree twice")
	case depth > maxTreeDepth:
		err = errors.New("the tree is too deep")
	}
	if err == nil {
		w.seen[number] = true
		header := page
		if number == 1 {
			header = page[sqliteHeaderBytes:]
		}
		switch kind := header[0]; kind {
		case treeInterior:
			return w.interior(page, header, depth, number)
		case treeLeaf:
			return w.leaf(page, header, number)
		default:
			err = fmt.Errorf("it is of type %#x", kind)
		}
	}
	return w.bad(err, "page %d", number)
}

// bad yields an error and reports whether the walk can go on.
func (w *walk) bad(err error, format string, args ...any) bool {
	err = bad(err, format, args...)
	return w.yield(nil, err) && isBadRecord(err)
}

// cells returns the offsets of the cells of a page, two bytes each.
func (w *walk) cells(header []byte, headerBytes int) ([]byte, error) {
	cells := 2 * int(binary.BigEndian.Uint16(header[3:]))
	if headerBytes+cells > len(header) {
		return nil, fmt.Errorf("%d cells", cells/2)
	}
	return header[headerBytes : headerBytes+cells], nil
}

func (w *walk) interior(page, header []byte, depth int, number int64) bool {
	cells, err := w.cells(header, 12)
	if err != nil {
		return w.bad(err, "page %d", number)
	}
	for ; len(cells) > 0; cells = cells[2:] {
		offset := int64(binary.BigEndian.Uint16(cells))
		if offset+4 > w.usable {
			if !w.bad(errBeyond, "cell of page %d", number) {
				return false
			}
			continue
		}
		if !w.page(int64(binary.BigEndian.Uint32(page[offset:])), depth+1) {
			return false
		}
	}
	return w.page(int64(binary.BigEndian.Uint32(header[8:])), depth+1)
}

func (w *walk) leaf(page, header []byte, number int64) bool {
	cells, err := w.cells(header, 8)
	if err != nil {
		return w.bad(err, "page %d", number)
	}
	for i := 0; len(cells) > 0; cells, i = cells[2:], i+1 {
		row, err := w.row(page[:w.usable], int64(binary.BigEndian.Uint16(cells)))
		if err != nil {
			if !w.bad(err, "cell %d of page %d", i, number) {
				return false
			}
			continue
		}
		if !w.yield(row, nil) {
			return false
		}
	}
	return true
}

// row returns the row of the cell at the offset, with what of it is on overflow pages.
func (w *walk) row(page []byte, offset int64) ([]byte, error) {
	if offset >= int64(len(page)) {
		return nil, errBeyond
	}
	cell := page[offset:]
	length, n := varint(cell)
	_, m := varint(cell[n:]) // the row's number
	if n == 0 || m == 0 || length > maxHeaderBytes {
		return nil, fmt.Errorf("row of %d bytes", length)
	}
	cell = cell[n+m:]
	local := w.local(int64(length))
	if local == int64(length) {
		if local > int64(len(cell)) {
			return nil, errBeyond
		}
		return cell[:local], w.charge(local)
	}
	if local+4 > int64(len(cell)) {
		return nil, errBeyond
	}
	row, err := w.begin(int64(length))
	if err != nil {
		return nil, err
	}
	row = append(row, cell[:local]...)
	return w.overflow(row, int64(length), int64(binary.BigEndian.Uint32(cell[local:])))
}

// local returns how much of a row of that length is in the cell of a leaf itself ("B-tree Cell Format").
func (d *sqlite) local(length int64) int64 {
	most := d.usable - 35
	if length <= most {
		return length
	}
	least := (d.usable-12)*32/255 - 23
	if k := least + (length-least)%(d.usable-4); k <= most {
		return k
	}
	return least
}

// overflow appends to a row what is on overflow pages, from the given page on, until it has that length.
func (w *walk) overflow(row []byte, length, page int64) ([]byte, error) {
	var next [4]byte
	for int64(len(row)) < length {
		if page == 0 {
			return nil, fmt.Errorf("%d bytes of %d", len(row), length)
		}
		if err := w.readAt(next[:], page, 0); err != nil {
			return nil, err
		}
		end := min(length, int64(len(row))+w.usable-4)
		if err := w.readAt(row[len(row):end], page, 4); err != nil {
			return nil, err
		}
		row, page = row[:end], int64(binary.BigEndian.Uint32(next[:]))
	}
	return row, nil
}

// read fills b with the beginning of a page. Pages are counted from 1.
func (d *sqlite) read(b []byte, page int64) error { return d.readAt(b, page, 0) }

// readAt fills b with what is on a page at an offset.
func (d *sqlite) readAt(b []byte, page, offset int64) error {
	if page < 1 {
		return fmt.Errorf("page %d", page)
	}
	if at, ok := d.log.page(page); ok {
		return d.log.at(b, at+offset)
	}
	return d.at(b, (page-1)*d.pageSize+offset)
}
