package rpmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// SQLite, as https://www.sqlite.org/fileformat2.html describes it. All numbers are big-endian.
var sqliteMagic = []byte("SQLite format 3\x00")

const (
	sqliteHeaderBytes = 100

	treeInterior = 0x05 // of a table: links to pages
	treeLeaf     = 0x0d // of a table: rows

	maxTreeDepth = 20 // SQLite's own limit for cursors

	// Columns of the schema table.
	schemaName, schemaRoot, schemaColumns = 1, 3, 4
	// Column of rpm's table "Packages" (hnum INTEGER PRIMARY KEY, blob BLOB).
	packagesBlob = 1
)

// sqlite is a database in SQLite format.
type sqlite struct {
	*file
	pageSize int64
	usable   int64 // of a page, without what is reserved at its end
	log      *log  // nil for none
}

func openSQLite(f *file, wal *io.SectionReader) (iter.Seq2[[]byte, error], error) {
	var header [sqliteHeaderBytes]byte
	if err := f.at(header[:], 0); err != nil {
		return nil, damaged(err)
	}
	d := &sqlite{file: f, pageSize: int64(binary.BigEndian.Uint16(header[16:]))}
	if d.pageSize == 1 {
		d.pageSize = 64 << 10
	}
	d.usable = d.pageSize - int64(header[20])
	if d.pageSize < 512 || d.pageSize&(d.pageSize-1) != 0 || d.usable < 480 {
		return nil, damaged(fmt.Errorf("pages of %d bytes", d.pageSize))
	}
	if encoding := binary.BigEndian.Uint32(header[56:]); encoding > 1 {
		return nil, fault.Newf(fault.Unsupported, "read", "rpm database", "text encoding %d", encoding)
	}
	if wal != nil {
		var err error
		if d.log, err = readLog(wal, d.pageSize); err != nil {
			return nil, damaged(err)
		}
	}
	root, err := d.root("Packages")
	if err != nil {
		return nil, err
	}
	return func(yield func([]byte, error) bool) { d.table(root, packagesBlob, yield) }, nil
}

// root returns the page at which the table begins.
func (d *sqlite) root(table string) (int64, error) {
	var root int64
	var problem error
	d.rows(1, func(row []byte, err error) bool {
		var name []byte
		if err == nil {
			if name, root, err = schemaRow(row); err != nil {
				err = bad(err, "row of the schema")
			}
		}
		if err != nil {
			problem, root = err, 0
		} else if !strings.EqualFold(string(name), table) {
			root = 0
		}
		return root == 0
	})
	switch {
	case root != 0:
		return root, nil
	case isBadRecord(problem):
		return 0, damaged(problem)
	case problem != nil:
		return 0, problem
	}
	return 0, fault.Newf(fault.Unsupported, "read", "rpm database", "no table %s: %w", table, ErrFormat)
}

// schemaRow returns the name and the first page of what a row of the schema table describes.
// The page is 0 for what has none, such as a view.
func schemaRow(row []byte) (name []byte, root int64, err error) {
	err = columns(row, func(column int, kind uint64, value []byte) error {
		switch {
		case column == schemaName && kind >= 12:
			name = value
		case column == schemaRoot && kind >= 1 && kind <= 6:
			root = integer(value)
		}
		return nil
	})
	return name, root, err
}

// table yields one column, a blob, of all rows of the table that begins at the page.
func (d *sqlite) table(root int64, column int, yield func([]byte, error) bool) {
	d.rows(root, func(row []byte, err error) bool {
		var blob []byte
		if err == nil {
			err = columns(row, func(n int, kind uint64, value []byte) error {
				if n == column && kind >= 12 {
					blob = value
				}
				return nil
			})
			if err == nil && blob == nil {
				err = errors.New("no header in it")
			}
			if err != nil {
				err = bad(err, "row of the table at page %d", root)
			}
		}
		return yield(blob, err)
	})
}

// columns calls f for each column of a row in record format: its number, serial type and value.
func columns(row []byte, f func(column int, kind uint64, value []byte) error) error {
	size, n := varint(row)
	if n == 0 || size < uint64(n) || size > uint64(len(row)) {
		return errors.New("broken record")
	}
	kinds, values := row[n:size], row[size:]
	for column := 0; len(kinds) > 0; column++ {
		kind, n := varint(kinds)
		if n == 0 {
			return errors.New("broken record")
		}
		kinds = kinds[n:]
		length := serialBytes(kind)
		if length > uint64(len(values)) {
			return errors.New("record longer than its row")
		}
		if err := f(column, kind, values[:length]); err != nil {
			return err
		}
		values = values[length:]
	}
	return nil
}

// serialBytes returns the length of a value of that serial type.
func serialBytes(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind >= 8: // the constants 0 and 1; 10 and 11 are reserved
		return 0
	}
	return [...]uint64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
}

// integer returns the number in b: big-endian, two's complement.
func integer(b []byte) int64 {
	var v int64
	for i, c := range b {
		if i == 0 {
			v = int64(int8(c))
			continue
		}
		v = v<<8 | int64(c)
	}
	return v
}

// varint reads SQLite's variable-length number of one to nine bytes. n is 0 if b is too short.
func varint(b []byte) (v uint64, n int) {
	for n < len(b) {
		c := b[n]
		n++
		if n == 9 {
			return v<<8 | uint64(c), n
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, n
		}
	}
	return 0, 0
}
