// Package apk provides a reader of the package database of Alpine and its kin: lib/apk/db/installed, which
// newer releases keep in usr/lib/apk/db, see apk-package(5) and https://wiki.alpinelinux.org/wiki/Apk_spec.
//
// It compares no versions and reads no file lists.
package apk

import (
	"fmt"
	"io"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/extract/lines"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// Packages yields the packages that are installed according to the database read from r, in its order.
// A package without origin is its own source package; the source package has the version of the package.
//
// A stanza that is broken is yielded as an error, an [*inventory.BadRecord], and the reading goes on behind it. If
// it tells a package and a version nevertheless, as one with a line too many does, that package is yielded before.
// Any other error is one of r and the last that is yielded.
func Packages(r io.Reader) iter.Seq2[inventory.Package, error] {
	return func(yield func(inventory.Package, error) bool) {
		text := lines.NewReader(r)
		var st stanza
		for {
			line, err := text.Next()
			if err != nil && err != io.EOF {
				yield(inventory.Package{}, err)
				return
			}
			if len(line) > 0 {
				st.add(line, text)
				continue
			}
			if st.line > 0 {
				p, ok, bad := st.pkg()
				if ok && !yield(p, nil) || bad != nil && !yield(inventory.Package{}, bad) {
					return
				}
				st = stanza{}
			}
			if err == io.EOF {
				return
			}
		}
	}
}

// stanza is what counts of a stanza.
type stanza struct {
	line                                 int // at which it begins; 0: there is none yet
	name, version, arch, origin, problem string
}

// add takes in a line: a letter, a colon, a value. The lines of files (F, R, a, Z, M) are most of them.
func (st *stanza) add(line []byte, text *lines.Reader) {
	if st.line == 0 {
		st.line = text.Number()
	}
	if len(line) < 2 || line[1] != ':' {
		st.broken("line %d is no field", text.Number())
		return
	}
	var field *string
	switch line[0] {
	case 'P':
		field = &st.name
	case 'V':
		field = &st.version
	case 'A':
		field = &st.arch
	case 'o':
		field = &st.origin
	default:
		return
	}
	if text.Cut() {
		st.broken("line %d is longer than %d bytes", text.Number(), lines.MaxBytes)
		return
	}
	*field = string(line[2:])
}

// broken notes the first thing that is wrong with the stanza.
func (st *stanza) broken(format string, args ...any) {
	if st.problem == "" {
		st.problem = fmt.Sprintf(format, args...)
	}
}

// pkg returns the package that the stanza describes, if it does, and what is wrong with the stanza.
func (st *stanza) pkg() (p inventory.Package, ok bool, bad error) {
	switch {
	case st.name == "":
		st.broken("no name (P)")
	case st.version == "":
		st.broken("no version (V)")
	}
	if st.problem != "" {
		record := fmt.Sprintf("stanza at line %d", st.line)
		if st.name != "" {
			record += fmt.Sprintf(" (%.80s)", st.name)
		}
		bad = &inventory.BadRecord{Record: record, Reason: st.problem}
	}
	if st.name == "" || st.version == "" {
		return inventory.Package{}, false, bad
	}
	if st.origin == "" {
		st.origin = st.name
	}
	return inventory.Package{
		Kind: inventory.APK, Name: st.name, Version: st.version, Arch: st.arch, SourceName: st.origin, SourceVersion: st.version,
	}, true, bad
}
