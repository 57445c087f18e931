// Package xmlstream walks XML documents that are too large to be held, an element at a time.
//
// Feeds of hundreds of megabytes are read with it several times a day, so it does no more for a byte than it has
// to: [encoding/xml] takes four to eight times as long. It is as strict as XML 1.0 (https://www.w3.org/TR/xml/) where a
// document could be cut off or tampered with: elements have to nest, one root has to hold everything, nothing but
// comments may follow it. Document type declarations are refused, and with them every entity but the five of XML
// itself and character references: no feed has any, and they are how a small document is made to grow without
// bound. The encoding is UTF-8. Names are taken without their namespaces.
//
// # Limits
//
// An element may lie [MaxDepth] deep; a tag, a comment, a stretch of text, and what [Walker.Text] returns may have
// [MaxTokenBytes] bytes. Memory does not depend on the size of the document.
package xmlstream

import (
	"errors"
	"fmt"
	"io"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// The limits of a document. The deepest feed known nests 11 elements; the longest text has 131 kB.
const (
	MaxDepth      = 64
	MaxTokenBytes = 8 << 20
)

// Element is the start of an element.
type Element struct {
	Name       string // without namespace
	attributes string // as they stand in the document, checked
}

// Attribute returns the value of an attribute, named without namespace, or "".
func (e Element) Attribute(name string) string {
	for rest := e.attributes; ; {
		a, ok, err := nextAttribute(&rest)
		if !ok || err != nil {
			return ""
		}
		if localName(a.name) == name {
			text, _ := appendText(nil, a.value)
			return string(text)
		}
	}
}

// Walker reads one document. It is not safe for concurrent use.
//
// Every error of its methods says at which byte of the document it came up, and ends the walk. Its kind is
// [fault.Corrupt], [fault.TooLarge] where a limit was reached, or that of the reader's error; errors of a visit
// function pass through as they are.
type Walker struct {
	s    scanner
	open [][]byte // the names of the elements around the place reached, root first
}

// New returns a Walker of the document in r.
func New(r io.Reader) *Walker { return &Walker{s: scanner{r: r}} }

// Offset returns how many bytes of the document were read.
func (w *Walker) Offset() int64 { return w.s.offset() }

// Document reads the whole document, of which the root has to have that name. It calls visit with the root, which
// reads it with Children or Text, or leaves it.
func (w *Walker) Document(root string, visit func(Element) error) error {
	if err := w.s.prolog(); err != nil {
		return w.fail(err)
	}
	for found := false; ; {
		t, err := w.s.next()
		if errors.Is(err, io.EOF) && found {
			return nil
		}
		if err != nil {
			return w.fail(unexpectedEnd(err))
		}
		switch t.kind {
		case startTag:
			if found || string(localName(t.name)) != root {
				return w.fail(fmt.Errorf("element <%s> where the one root <%s> has to be", t.name, root))
			}
			found = true
			err = w.visit(t, visit)
		case endTag:
			err = w.fail(fmt.Errorf("element </%s> was not open", t.name))
		case text, cdata:
			if len(trimSpace(t.body)) > 0 {
				err = w.fail(errors.New("text outside of the root"))
			}
		}
		if err != nil {
			return err
		}
	}
}

// Children reads to the end of the innermost open element, and calls visit for each element directly in it. What
// visit leaves unread of its element is passed over.
func (w *Walker) Children(visit func(Element) error) error {
	for inside := len(w.open); len(w.open) >= inside; {
		t, err := w.token()
		switch {
		case err != nil:
		case t.kind == startTag:
			err = w.visit(t, visit)
		case t.kind == endTag:
			err = w.pop(t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Text reads to the end of the innermost open element and returns the text in it, that of elements in it included.
func (w *Walker) Text() (string, error) {
	var out []byte
	for inside := len(w.open); len(w.open) >= inside; {
		t, err := w.token()
		switch {
		case err != nil:
		case t.kind == startTag:
			err = w.push(t)
		case t.kind == endTag:
			err = w.pop(t)
		case t.kind == cdata:
			out = appendLines(out, t.body)
		default:
			if out, err = appendText(out, t.body); err != nil {
				err = w.fail(err)
			}
		}
		if err == nil {
			err = w.fail(limits.Check("text of an element", "bytes", MaxTokenBytes, int64(len(out))))
		}
		if err != nil {
			return "", err
		}
	}
	return string(out), nil
}

// visit opens an element, shows it, and passes over what is left of it.
func (w *Walker) visit(start token, visit func(Element) error) error {
	e := Element{Name: string(localName(start.name)), attributes: string(start.body)}
	outside := len(w.open)
	if err := w.push(start); err != nil {
		return err
	}
	if err := visit(e); err != nil {
		return err
	}
	for len(w.open) > outside {
		t, err := w.token()
		switch {
		case err != nil:
		case t.kind == startTag:
			err = w.push(t)
		case t.kind == endTag:
			err = w.pop(t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// token returns the next token inside the root.
func (w *Walker) token() (token, error) {
	t, err := w.s.next()
	return t, w.fail(unexpectedEnd(err))
}

// push opens an element.
func (w *Walker) push(start token) error {
	if err := limits.Check("depth of the elements", "elements", MaxDepth, int64(len(w.open)+1)); err != nil {
		return w.fail(err)
	}
	if len(w.open) < cap(w.open) {
		w.open = w.open[:len(w.open)+1]
		last := &w.open[len(w.open)-1]
		*last = append((*last)[:0], start.name...)
		return nil
	}
	w.open = append(w.open, append([]byte(nil), start.name...))
	return nil
}

// pop closes the innermost element.
func (w *Walker) pop(end token) error {
	last := len(w.open) - 1
	if last < 0 || string(w.open[last]) != string(end.name) {
		return w.fail(fmt.Errorf("element </%s> is not the one that is open", end.name))
	}
	w.open = w.open[:last]
	return nil
}

// fail says where the walk ended, and gives an error that has no kind the kind of a broken document.
func (w *Walker) fail(err error) error {
	if err == nil {
		return nil
	}
	kind := fault.KindOf(err)
	if kind == fault.Unknown {
		kind = fault.Corrupt
	}
	return fault.New(kind, "read XML", fmt.Sprintf("at byte %d", w.Offset()), err)
}

// unexpectedEnd says that a document that ends inside the root was cut off.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
