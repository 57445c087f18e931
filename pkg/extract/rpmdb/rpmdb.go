// Package rpmdb provides a reader of rpm's package database in the three forms it has had: a Berkeley DB hash
// table (var/lib/rpm/Packages), SUSE's ndb (Packages.db) and SQLite (rpmdb.sqlite).
//
// The forms are told apart by content, not by name. Files are read in place, page by page, and nothing in them is
// trusted: no offset, length or link leads out of bounds, in circles, or to more work than the file is long.
// It needs neither rpm nor a database library, writes nothing and takes no locks.
//
// It compares no versions and reads no file lists. The other files beside the database are indexes made from it.
package rpmdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// maxHeaderBytes bounds the description of one package. rpm itself allows 256 MiB; the largest ones, of
// packages with some ten thousand files, have a few MiB.
const maxHeaderBytes = 64 << 20

// ErrFormat is wrapped by the error, of kind [fault.Unsupported], for a file that is in none of the three forms.
var ErrFormat = errors.New("not an rpm database")

// Packages yields the packages that are installed according to the database db, in its order. For a database
// in SQLite form wal is the write-ahead log beside it (rpmdb.sqlite-wal), which holds what was written last;
// nil means there is none.
//
// Public keys, which rpm keeps as packages named gpg-pubkey, are left out. A file without a byte holds no packages.
//
// A header or page that is broken is yielded as an error, an [*inventory.BadRecord], and the reading goes on
// behind it. Any other error is the last that is yielded: of kind [fault.Corrupt] or [fault.Unsupported] where the
// file as a whole is no database, or an error of reading db itself, as it is.
func Packages(db, wal *io.SectionReader) iter.Seq2[inventory.Package, error] {
	return func(yield func(inventory.Package, error) bool) {
		if db.Size() == 0 {
			return
		}
		headers, err := open(db, wal)
		if err != nil {
			yield(inventory.Package{}, err)
			return
		}
		number := 0
		for blob, err := range headers {
			if err != nil {
				if !yield(inventory.Package{}, err) || !isBadRecord(err) {
					return
				}
				continue
			}
			number++
			p, err := parseHeader(blob)
			if err != nil {
				record := fmt.Sprintf("header %d", number)
				if p.Name != "" {
					record += fmt.Sprintf(" (%.80s)", p.Name)
				}
				err = &inventory.BadRecord{Record: record, Reason: err.Error()}
			} else if p.Name == "gpg-pubkey" {
				continue
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// open returns the headers of the database, in rpm's own format. The bytes are valid until the next one.
// An error that is no [*inventory.BadRecord] is the last.
func open(db, wal *io.SectionReader) (iter.Seq2[[]byte, error], error) {
	var magic [16]byte
	if _, err := db.ReadAt(magic[:], 0); err != nil && err != io.EOF {
		return nil, err
	}
	f := file{r: db, budget: db.Size()}
	switch {
	case bytes.Equal(magic[:], sqliteMagic):
		if wal != nil {
			f.budget += wal.Size()
		}
		return openSQLite(&f, wal)
	case bytes.Equal(magic[:4], ndbMagic):
		return openNDB(&f)
	case bytes.Equal(magic[12:16], hashMagicLE), bytes.Equal(magic[12:16], hashMagicBE):
		return openHash(&f, bytes.Equal(magic[12:16], hashMagicBE))
	}
	return nil, fault.New(fault.Unsupported, "read", "rpm database", ErrFormat)
}

// errBeyond says that something is said to be where the file does not reach.
var errBeyond = errors.New("beyond the end of the file")

// file is a database file. Headers read from it are charged against the budget, so that pages which belong to
// several headers do not multiply the work.
type file struct {
	r      *io.SectionReader
	budget int64 // bytes of headers that may still be read
	header []byte
}

// at fills b with what is at the offset.
func (f *file) at(b []byte, offset int64) error {
	if offset < 0 || offset > f.r.Size()-int64(len(b)) {
		return errBeyond
	}
	if _, err := f.r.ReadAt(b, offset); err != nil && err != io.EOF { // io.EOF is allowed at the very end
		return &readError{err}
	}
	return nil
}

// readError is an error of reading the file, and none of what is in it.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// begin returns an empty buffer for a header of that size.
func (f *file) begin(size int64) ([]byte, error) {
	if size > maxHeaderBytes {
		return nil, fmt.Errorf("header of %d bytes", size)
	}
	if err := f.charge(size); err != nil {
		return nil, err
	}
	if int64(cap(f.header)) < size {
		f.header = make([]byte, 0, size)
	}
	return f.header[:0], nil
}

// charge takes that many bytes of headers from the budget.
func (f *file) charge(size int64) error {
	if f.budget -= size; f.budget < 0 {
		return errExhausted
	}
	return nil
}

// errExhausted says that the headers are longer than the file that they are in.
var errExhausted = fault.Newf(fault.Corrupt, "read", "rpm database", "pages belong to several headers")

// bad says that a part of a database cannot be read. An error that is none of the part itself, but of the file
// as a whole or of the reading, is returned as it is.
func bad(err error, format string, args ...any) error {
	if e := (*readError)(nil); errors.As(err, &e) {
		return e.err
	}
	if e := (*fault.Error)(nil); errors.As(err, &e) {
		return err
	}
	return &inventory.BadRecord{Record: fmt.Sprintf(format, args...), Reason: err.Error()}
}

func isBadRecord(err error) bool {
	var record *inventory.BadRecord
	return errors.As(err, &record)
}
