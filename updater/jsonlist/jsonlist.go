// Package jsonlist reads documents of the form {"count": 2, "items": [{…}, {…}], …}, an item at a time: an object
// with a list, and perhaps the number of its items. Memory is bounded by the largest item.
package jsonlist

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/jsonstream"
)

// Form names the members that count. Others are skipped.
type Form struct {
	Document string // what the document is called in errors
	List     string // the member that is the list
	Count    string // the member that is the number of its items; "" where there is none
}

// errStopped ends the walk when the consumer wants no more.
var errStopped = errors.New("stopped")

// Items reads a document. It yields an item and nil; or a [*advisory.BadRecord] for an item of another shape, and
// goes on; or any other error, and ends. That is a fault of kind Corrupt, or of the kind that reading r failed with:
// where the document is cut off, has no list, or has not as many items as it says.
func Items[T any](r io.Reader, form Form) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		w := walk[T]{form: form, w: jsonstream.New(r), count: -1, read: -1, yield: yield}
		err := w.w.Object(w.member)
		if err == nil {
			err = w.w.End()
		}
		if err == nil {
			err = w.complete()
		}
		if err == nil || errors.Is(err, errStopped) {
			return
		}
		kind := fault.KindOf(err)
		if kind == fault.Unknown {
			kind = fault.Corrupt
		}
		var none T
		yield(none, fault.New(kind, "parse", form.Document, err))
	}
}

// walk is a document being read.
type walk[T any] struct {
	form  Form
	w     *jsonstream.Walker
	count int // as the document tells; -1 if not told
	read  int // items; -1 if there was no list
	yield func(T, error) bool
}

func (w *walk[T]) member(name string) error {
	switch name {
	case w.form.List:
		w.read = max(w.read, 0)
		return w.w.Array(w.item)
	case w.form.Count:
		shape, broken := w.w.Value(&w.count)
		return errors.Join(shape, broken)
	}
	return w.w.Skip()
}

func (w *walk[T]) item(i int) error {
	var item T
	shape, broken := w.w.Value(&item)
	if broken != nil {
		return broken
	}
	w.read++
	var more bool
	if shape != nil {
		var none T
		more = w.yield(none, &advisory.BadRecord{Subject: fmt.Sprintf("item %d", i), Reason: shape.Error()})
	} else {
		more = w.yield(item, nil)
	}
	if !more {
		return errStopped
	}
	return nil
}

func (w *walk[T]) complete() error {
	switch {
	case w.read < 0:
		return fmt.Errorf("the document has no member %q", w.form.List)
	case w.form.Count != "" && w.count < 0:
		return fmt.Errorf("the document has no member %q", w.form.Count)
	case w.form.Count != "" && w.count != w.read:
		return fmt.Errorf("it says that it has %d items, and has %d", w.count, w.read)
	}
	return nil
}
