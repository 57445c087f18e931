package jsonlist

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

var form = Form{Document: "example", List: "items", Count: "count"}

// read returns the items as text, and the error that ended them.
func read(r io.Reader, form Form) (string, error) {
	var out []string
	for item, err := range Items[struct{ N int }](r, form) {
		var bad *advisory.BadRecord
		switch {
		case errors.As(err, &bad):
			out = append(out, "bad "+bad.Subject)
		case err != nil:
			return strings.Join(out, ", "), err
		default:
			out = append(out, fmt.Sprint(item.N))
		}
	}
	return strings.Join(out, ", "), nil
}

func TestItems(t *testing.T) {
	for _, c := range []struct {
		document, want string
		kind           fault.Kind // Unknown for no error
	}{
		{`{"title": {"a": []}, "count": 3, "items": [{"N": 1}, {"N": "one"}, {"N": 3}], "more": 1}`, "1, bad item 1, 3", fault.Unknown},
		{`{"items": [{"N": 1}], "count": 1}`, "1", fault.Unknown},
		{`{"items": [], "count": 0}`, "", fault.Unknown},
		{`{"items": null, "count": 0}`, "", fault.Unknown},
		{`{"items": [{"N": 1}], "count": 2}`, "1", fault.Corrupt},
		{`{"items": [{"N": 1}]}`, "1", fault.Corrupt},
		{`{"items": [{"N": 1}], "count": "1"}`, "1", fault.Corrupt},
		{`{"count": 0}`, "", fault.Corrupt},
		{`{"count": 2, "items": [{"N": 1}, {"N`, "1", fault.Corrupt},
		{`{"count": 1, "items": [{"N": 1}]`, "1", fault.Corrupt},
		{`{"count": 1, "items": [{"N": 1}]} {}`, "1", fault.Corrupt},
		{`{"count": 1, "items": {"N": 1}}`, "", fault.Corrupt},
		{`<html>503</html>`, "", fault.Corrupt},
		{`[]`, "", fault.Corrupt},
		{``, "", fault.Corrupt},
	} {
		got, err := read(strings.NewReader(c.document), form)
		if got != c.want || fault.KindOf(err) != c.kind || (err == nil) != (c.kind == fault.Unknown) {
			t.Errorf("%s: %q, %v; want %q, kind %s", c.document, got, err, c.want, c.kind)
		}
	}
	if got, err := read(strings.NewReader(`{"items": [{"N": 1}], "count": 7}`), Form{List: "items"}); got != "1" || err != nil {
		t.Errorf("where nobody counts: %q, %v", got, err)
	}
	gone := fault.Newf(fault.Unavailable, "read", "disk", "gone")
	if got, err := read(io.MultiReader(strings.NewReader(`{"items": [{"N": 1}, {`), failing{gone}), form); got != "1" || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("gone on the way: %q, %v", got, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestItemsStop(t *testing.T) {
	n := 0
	for range Items[struct{ N int }](strings.NewReader(`{"items": [{"N": 1}, {"N": 2}, {"N": 3}], "count": 9}`), form) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d items after a break at 2", n)
	}
}

func FuzzItems(f *testing.F) {
	f.Add(`{"title": {"a": []}, "count": 3, "items": [{"N": 1}, {"N": "one"}, {"N": 3}], "more": 1}`)
	f.Fuzz(func(t *testing.T, document string) {
		if _, err := read(strings.NewReader(document), form); err != nil && fault.KindOf(err) != fault.Corrupt {
			t.Errorf("got %v, want a fault of kind corrupt", err)
		}
	})
}
