package rpmdb

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// tag is an entry of a header.
type tag struct {
	number, kind uint32
	value        []byte
}

func text(number uint32, s string) tag { return tag{number, typeString, append([]byte(s), 0)} }

func number(n, v uint32) tag { return tag{n, typeInt32, binary.BigEndian.AppendUint32(nil, v)} }

// header returns a header with the tags, as rpm stores it.
func header(tags ...tag) []byte {
	var index, data []byte
	for _, t := range tags {
		if t.kind == typeInt32 {
			data = append(data, make([]byte, -len(data)&3)...)
		}
		for _, v := range []uint32{t.number, t.kind, uint32(len(data)), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(data, t.value...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(tags)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, index...), data...)
}

// numbered returns n headers, every third one longer than a page, and the packages that they describe.
func numbered(n int) (headers [][]byte, packages []inventory.Package) {
	for i := range n {
		name := fmt.Sprintf("package-%04d", i)
		tags := []tag{text(tagName, name), text(tagVersion, "1.2"), text(tagRelease, "3.el9"), text(tagArch, "x86_64")}
		if i%3 == 0 {
			tags = append(tags, text(1118, string(bytes.Repeat([]byte("/usr/share/doc/"), 500+i))))
		}
		tags = append(tags, text(tagSourceRPM, name+"-1.2-3.el9.src.rpm"))
		headers = append(headers, header(tags...))
		packages = append(packages, expected(name, "", "1.2", "3.el9", "x86_64", "", ""))
	}
	return headers, packages
}

// buildHash returns a Berkeley DB hash table with the values, and the record that rpm keeps under the key 0.
func buildHash(order binary.ByteOrder, pageSize int, values [][]byte) []byte {
	page := func(number, next, length, kind int) []byte {
		b := make([]byte, pageSize)
		order.PutUint32(b[8:], uint32(number))
		order.PutUint32(b[16:], uint32(next))
		order.PutUint16(b[22:], uint16(length))
		b[25] = byte(kind)
		return b
	}
	pages := [][]byte{page(0, 0, 0, pageHashMeta)}
	overflow := func(value []byte) (first int) {
		first = len(pages)
		for len(value) > 0 {
			n := min(len(value), pageSize-pageHeaderBytes)
			next := 0
			if n < len(value) {
				next = len(pages) + 1
			}
			p := page(len(pages), next, n, pageOverflow)
			copy(p[pageHeaderBytes:], value[:n])
			pages = append(pages, p)
			value = value[n:]
		}
		return first
	}
	values = append([][]byte{{0, 0, 0, 9}}, values...)
	for key, value := range values {
		item := append([]byte{itemKeyData}, value...)
		if len(value) > pageSize/4 {
			item = make([]byte, offPageBytes)
			item[0] = itemOffPage
			order.PutUint32(item[4:], uint32(overflow(value)))
			order.PutUint32(item[8:], uint32(len(value)))
		}
		p := page(len(pages), 0, 0, pageHash)
		end := pageSize
		for i, b := range [][]byte{{itemKeyData, 0, 0, 0, byte(key)}, item} {
			end -= len(b)
			copy(p[end:], b)
			order.PutUint16(p[pageHeaderBytes+2*i:], uint16(end))
		}
		order.PutUint16(p[20:], 2)
		pages = append(pages, p)
	}
	order.PutUint32(pages[0][12:], 0x061561)
	order.PutUint32(pages[0][20:], uint32(pageSize))
	order.PutUint32(pages[0][32:], uint32(len(pages)-1))
	return slices.Concat(pages...)
}

// buildNDB returns an ndb database with the headers.
func buildNDB(headers [][]byte) []byte {
	le := binary.LittleEndian
	slotPages := (len(headers)+len(headers)/7+2)/(ndbPageBytes/ndbSlotBytes) + 1
	b := make([]byte, slotPages*ndbPageBytes)
	copy(b, ndbMagic)
	le.PutUint32(b[12:], uint32(slotPages))
	for at := ndbHeaderBytes; at < len(b); at += ndbSlotBytes {
		le.PutUint32(b[at:], ndbSlotMagic)
	}
	for i, h := range headers {
		slot := ndbHeaderBytes + (i+i/7)*ndbSlotBytes // some are free
		le.PutUint32(b[slot+4:], uint32(i+1))
		le.PutUint32(b[slot+8:], uint32(len(b)/ndbBlockBytes))
		blob := le.AppendUint32(nil, ndbBlobMagic)
		blob = le.AppendUint32(blob, uint32(i+1))
		blob = le.AppendUint32(blob, 0)
		blob = le.AppendUint32(blob, uint32(len(h)))
		blob = append(blob, h...)
		b = append(b, append(blob, make([]byte, -len(blob)&(ndbBlockBytes-1))...)...)
	}
	return b
}

// sqliteDatabase is a database that is open, as rpm makes it.
type sqliteDatabase struct {
	*sql.DB
	file string
}

func newSQLite(t testing.TB, pragmas ...string) sqliteDatabase {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	d := sqliteDatabase{db, file}
	for _, p := range pragmas {
		d.exec(t, "PRAGMA "+p)
	}
	d.exec(t, "CREATE TABLE 'Name' (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
	d.exec(t, "CREATE INDEX Name_key_idx ON Name(key ASC)")
	d.exec(t, "CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
	return d
}

func (d sqliteDatabase) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := d.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func (d sqliteDatabase) insert(t testing.TB, headers [][]byte) {
	t.Helper()
	d.exec(t, "BEGIN")
	for _, h := range headers {
		d.exec(t, "INSERT INTO Packages (blob) VALUES (?)", h)
	}
	d.exec(t, "COMMIT")
}

func bytesSection(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}
