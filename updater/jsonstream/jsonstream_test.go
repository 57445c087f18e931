package jsonstream

import (
	"errors"
	"io"
	"strings"
	"testing"
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

func TestVisitorStops(t *testing.T) {
	stop := errors.New("stop")
	w := New(strings.NewReader(`{"a": 1, "b": 2}`))
	if err := w.Object(func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}
