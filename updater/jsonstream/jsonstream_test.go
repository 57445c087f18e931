package jsonstream

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestWalk(t *testing.T) {
	w := New(strings.NewReader(`{"a": [1, "two", {"x": null}], "b": {"c": 3}, "skipped": [[[]]], "none": null}`))
	var got []string
	err := w.Object(func(name string) error {
		switch name {
		case "a":
			return w.Array(func(int) error {
				var n int
				shape, broken := w.Value(&n)
				if shape != nil {
					got = append(got, "odd")
				} else {
					got = append(got, "number")
				}
				return broken
			})
		case "b", "none":
			return w.Object(func(inner string) error {
				got = append(got, inner)
				return w.Skip()
			})
		}
		return w.Skip()
	})
	if err == nil {
		err = w.End()
	}
	if want := "number odd odd c"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("walked %v, %v; want %s", got, err, want)
	}
}

func TestBroken(t *testing.T) {
	for _, document := range []string{``, `{`, `{"a"`, `{"a":`, `{"a":{`, `{"a":{"b":1}`, `{"a":{"b"}}`, `[1]`, `{"a":[1}}`, `{} x`, `{"a":{}} {}`} {
		w := New(strings.NewReader(document))
		err := w.Object(func(string) error { return w.Object(func(string) error { return w.Skip() }) })
		if err == nil {
			err = w.End()
		}
		if err == nil {
			t.Errorf("%q walked without an error", document)
		}
		if strings.HasPrefix(`{"a":{"b":1}`, document) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v, want an unexpected end", document, err)
		}
	}
}

// TestBounded holds that no part of a document is held that has no end, nor gone over again and again.
func TestBounded(t *testing.T) {
	for title, c := range map[string]struct {
		begin string
		of    string
	}{
		"a string":                 {`{"a": "`, "x"},
		"a number":                 {`{"a": `, "1"},
		"an array":                 {`{"a": [`, "1,"},
		"a name":                   {`{"`, "x"},
		"space before the root":    {``, " "},
		"space before a name":      {`{`, " "},
		"space before a colon":     {`{"a"`, " "},
		"space before a value":     {`{"a":`, " "},
		"space before a comma":     {`{"a":1`, " "},
		"space behind the root":    {`{"a":1}`, " "},
		"space behind a comma":     {`{"a":1,`, " "},
		"space within a container": {`{"a":{"b":2`, " "},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			r := &endless{text: c.begin, of: strings.Repeat(c.of, 1000)}
			w := New(r)
			err := w.Object(func(string) error { return w.Skip() })
			if err == nil {
				err = w.End()
			}
			if fault.KindOf(err) != fault.TooLarge || r.read > 2*MaxValueBytes {
				t.Errorf("after %d bytes: %v", r.read, err)
			}
		})
	}
}

// endless is a text that goes on for ever.
type endless struct {
	text, of string
	read     int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.text == "" {
		e.text = e.of
	}
	n := copy(p, e.text)
	e.text = e.text[n:]
	e.read += n
	return n, nil
}

func TestVisitorStops(t *testing.T) {
	stop := errors.New("stop")
	w := New(strings.NewReader(`{"a": 1, "b": 2}`))
	if err := w.Object(func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
