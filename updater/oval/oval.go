// Package oval reads definitions of the Open Vulnerability and Assessment Language, as the vendors of distributions
// publish their advisories in it.
//
// It tells what a definition says of packages: which versions of which, on which platform, in which module. What a
// platform, a severity or an identifier means is for the packages named after the sources, which state it as
// [Rules]. It evaluates no definition against a system.
//
// # Format
//
// OVAL 5.x, https://oval-community-guidelines.readthedocs.io/en/latest/oval-definitions-schema.html. A document has
// definitions, then tests, objects, states and variables, each with an id. A definition has criteria: a tree of AND
// and OR over tests; a test is an object (such as a package of a name) and what state it has to be in (such as a
// version less than another). Since what definitions refer to stands behind them, a document is read twice: once for
// the tables of tests, objects, states and variables, once for the definitions. Memory is bounded by these tables,
// about 60 bytes an entry, and one definition.
//
// # Criteria
//
// The tree becomes a list of packages; see [Definition.Packages]. Nothing of it is believed because a comment says
// so: the vendors' comments differ and one of them leaves them out, so tests and states count.
package oval

import (
	"errors"
	"io"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/xmlstream"
)

// Opener opens a document at its start, inflated. Whoever calls it closes what it returns. It has to be the same
// document each time.
type Opener func() (io.ReadCloser, error)

// The bounds of one definition: as it stands in the document, of which the largest known has 0.4 MB, and what its
// tests are about, however often one is referred to.
const (
	maxDefinitionBytes = 16 << 20
	maxPackages        = 500_000
)

// errStopped ends the walk when the consumer wants no more.
var errStopped = errors.New("stopped")

// Read returns the definitions of a document, of all classes. After an error there are no more; its kind is
// [fault.Corrupt] for a document that is broken, [fault.TooLarge] for one past the limits, or that of the opener's
// error. A definition is the consumer's to keep.
func Read(open Opener) iter.Seq2[*Definition, error] {
	return func(yield func(*Definition, error) bool) {
		t, err := readTables(open)
		if err == nil {
			err = readDefinitions(open, t, func(d *Definition) bool { return yield(d, nil) })
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// walk opens a document and shows the sections of it.
func walk(open Opener, visit func(w *xmlstream.Walker, section xmlstream.Element) error) (err error) {
	r, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w := xmlstream.New(r)
	return w.Document("oval_definitions", func(xmlstream.Element) error {
		return w.Children(func(section xmlstream.Element) error { return visit(w, section) })
	})
}

// readDefinitions shows the definitions of a document, and reads no further than they reach.
func readDefinitions(open Opener, t *tables, each func(*Definition) bool) error {
	err := walk(open, func(w *xmlstream.Walker, section xmlstream.Element) error {
		if section.Name != "definitions" {
			return nil
		}
		err := w.Children(func(e xmlstream.Element) error {
			if e.Name != "definition" {
				return nil
			}
			d, err := readDefinition(w, e, t)
			if err == nil && !each(d) {
				err = errStopped
			}
			return err
		})
		if err == nil {
			err = errRead
		}
		return err
	})
	if errors.Is(err, errRead) {
		return nil
	}
	return err
}

// errRead ends the walk behind what is wanted of a document.
var errRead = errors.New("read")

// checkSize bounds a definition that began at a byte of the document.
func checkSize(w *xmlstream.Walker, began int64) error {
	return limits.Check("size of a definition", "bytes", maxDefinitionBytes, w.Offset()-began)
}
