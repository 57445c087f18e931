// Package jsonstream walks JSON documents that are too large to be held, a value at a time.
//
// It tells a document that is broken, which ends the walk, from a value of an unexpected shape,
// which does not.
package jsonstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Walker reads one document.
type Walker struct{ d *json.Decoder }

// New returns a Walker of the document in r.
func New(r io.Reader) *Walker { return &Walker{json.NewDecoder(r)} }

// Object reads an object, null included. For each member it calls visit, which reads the value and
// nothing more.
func (w *Walker) Object(visit func(name string) error) error {
	return w.container('{', '}', func() error {
		token, err := w.token()
		if err != nil {
			return err
		}
		return visit(fmt.Sprint(token)) // within an object the decoder lets nothing but a string pass
	})
}

// Array reads an array, null included. For each item it calls visit with its index, which reads the
// item and nothing more.
func (w *Walker) Array(visit func(i int) error) error {
	i := -1
	return w.container('[', ']', func() error {
		i++
		return visit(i)
	})
}

func (w *Walker) container(open, shut json.Delim, member func() error) error {
	token, err := w.token()
	if err != nil || token == nil {
		return err
	}
	if token != open {
		return fmt.Errorf("offset %d: want %v, got %v", w.d.InputOffset(), open, token)
	}
	for w.d.More() {
		if err := member(); err != nil {
			return err
		}
	}
	token, err = w.token()
	if err == nil && token != shut {
		err = fmt.Errorf("offset %d: want %v, got %v", w.d.InputOffset(), shut, token)
	}
	return err
}

// Value reads one value, of any size that fits in memory, into v. The first error is about the shape of
// the value: the walk can go on. The second is about the document: it cannot.
func (w *Walker) Value(v any) (shape, broken error) {
	var raw json.RawMessage
	if err := w.d.Decode(&raw); err != nil {
		return nil, w.unexpectedEnd(err)
	}
	return json.Unmarshal(raw, v), nil
}

// Skip reads one value and forgets it.
func (w *Walker) Skip() error {
	var raw json.RawMessage
	return w.unexpectedEnd(w.d.Decode(&raw))
}

// End reports anything but white space behind the document.
func (w *Walker) End() error {
	switch _, err := w.d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("offset %d: more after the end of the document", w.d.InputOffset())
}

func (w *Walker) token() (json.Token, error) {
	token, err := w.d.Token()
	return token, w.unexpectedEnd(err)
}

// unexpectedEnd says that a document that ends inside a value was cut off.
func (w *Walker) unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("offset %d: %w", w.d.InputOffset(), io.ErrUnexpectedEOF)
	}
	return err
}
