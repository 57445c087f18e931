// Package jsonstream walks JSON documents that are too large to be held, a value at a time.
//
// It tells a document that is broken, which ends the walk, from a value of an unexpected shape,
// which does not.
//
// # Limits
//
// A value that is read at once may have [MaxValueBytes] bytes, a name or white space [MaxTokenBytes]. Memory does not depend
// on the size of the document.
package jsonstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// The most bytes of a value that is read at once, and of what stands between values. Real ones stay far below. The second
// is smaller for a reason: over white space the decoder goes again and again.
const (
	MaxValueBytes = 64 << 20
	MaxTokenBytes = 1 << 20
)

// Walker reads one document.
type Walker struct {
	d *json.Decoder
	r *bounded
}

// New returns a Walker of the document in r.
func New(r io.Reader) *Walker {
	b := &bounded{r: r}
	return &Walker{json.NewDecoder(b), b}
}

// bounded ends a document of which a value has no end, for the decoder would hold all of it.
type bounded struct {
	r     io.Reader
	read  int64
	start int64 // of the value under way
	most  int64 // bytes of it
	err   error // that has ended the document
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := limits.Check("size of a value", "bytes", b.most, b.read-b.start); err != nil && b.err == nil {
		b.err = fault.Wrap("read", fmt.Sprintf("value at offset %d", b.start), err)
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	return n, err
}

// Object reads an object, null included. For each member it calls visit, which reads the value and
// nothing more.
func (w *Walker) Object(visit func(name string) error) error {
	return w.container('{', '}', func() error {
		token, err := w.token()
		if err != nil {
			return err
		}
		w.more()
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
	for w.more() {
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

// Value reads one value into v. The first error is about the shape of
// the value: the walk can go on. The second is about the document: it cannot.
func (w *Walker) Value(v any) (shape, broken error) {
	raw, err := w.raw()
	if err != nil {
		return nil, err
	}
	return json.Unmarshal(raw, v), nil
}

// Skip reads one value and forgets it.
func (w *Walker) Skip() error {
	_, err := w.raw()
	return err
}

// begin begins with what may have so many bytes, over what the decoder has read ahead.
func (w *Walker) begin(most int64) { w.r.start, w.r.most = w.d.InputOffset(), most }

// more reports whether a container has another member; before the value of a member it goes over white space.
func (w *Walker) more() bool {
	w.begin(MaxTokenBytes)
	return w.d.More()
}

func (w *Walker) raw() (raw json.RawMessage, err error) {
	w.begin(MaxValueBytes)
	err = w.d.Decode(&raw)
	return raw, w.unexpectedEnd(err)
}

// End reports anything but white space behind the document.
func (w *Walker) End() error {
	w.begin(MaxTokenBytes)
	switch _, err := w.d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("offset %d: more after the end of the document", w.d.InputOffset())
}

func (w *Walker) token() (json.Token, error) {
	w.begin(MaxTokenBytes)
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
