package csaf

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/jsonstream"
)

// Read reads one document. Errors are faults: of kind Corrupt where the bytes are no such document, Unsupported
// where it follows another version of the standard, TooLarge where it is larger than [MaxBytes]; or those of r.
func Read(r io.Reader) (*Document, error) { return read(r, MaxBytes) }

func read(r io.Reader, most int64) (*Document, error) {
	bounded := &io.LimitedReader{R: r, N: most + 1}
	p := &reading{w: jsonstream.New(bounded), refs: make(map[string]Ref), groups: make(map[string][]Ref)}
	err := p.document()
	if limit := limits.Check("size of the document", "bytes", most, most+1-bounded.N); limit != nil {
		err = limit
	}
	if err != nil {
		kind := fault.KindOf(err)
		if kind == fault.Unknown {
			kind = fault.Corrupt
		}
		return nil, fault.New(kind, "read CSAF document", p.doc.ID, err)
	}
	p.joinGroups()
	return &p.doc, nil
}

// reading is a document being read.
type reading struct {
	w      *jsonstream.Walker
	doc    Document
	refs   map[string]Ref   // by product identifier
	groups map[string][]Ref // product groups by identifier
}

func (p *reading) document() error {
	seen := false
	err := p.object(map[string]func() error{
		"document":     func() error { seen = true; return p.head() },
		"product_tree": p.tree,
		"vulnerabilities": func() error {
			return p.w.Array(func(int) error { return p.vulnerability() })
		},
	})
	if err == nil {
		err = p.w.End()
	}
	if err == nil && !seen {
		err = errors.New("the document has no member \"document\"")
	}
	return err
}

// object reads an object: the members that are named as told, the others not.
func (p *reading) object(read map[string]func() error) error {
	return p.w.Object(func(name string) error {
		if f, ok := read[name]; ok {
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		return p.w.Skip()
	})
}

// value reads a value that is small.
func (p *reading) value(v any) error {
	shape, broken := p.w.Value(v)
	return errors.Join(shape, broken)
}

// into returns a function that reads a small value into v.
func (p *reading) into(v any) func() error {
	return func() error { return p.value(v) }
}

func (p *reading) head() error {
	var version string
	var severity struct{ Text string }
	var tracking struct {
		ID, Status string
		Initial    string `json:"initial_release_date"`
		Current    string `json:"current_release_date"`
	}
	err := p.object(map[string]func() error{
		"csaf_version":       p.into(&version),
		"title":              p.into(&p.doc.Title),
		"aggregate_severity": p.into(&severity),
		"tracking":           p.into(&tracking),
	})
	if err != nil {
		return err
	}
	if version != "2.0" {
		return fault.Newf(fault.Unsupported, "read", "csaf_version", "version %q, want 2.0", version)
	}
	p.doc.ID, p.doc.Status, p.doc.Severity = tracking.ID, tracking.Status, severity.Text
	p.doc.Published, p.doc.Modified = date(tracking.Initial), date(tracking.Current)
	return nil
}

// date reads a time that nothing depends on; one that cannot be read is not told.
func date(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// ref returns the number of a product, a new one where the identifier is new.
func (p *reading) ref(id string) Ref {
	r, ok := p.refs[id]
	if !ok {
		r = Ref(len(p.doc.Products))
		p.refs[id] = r
		p.doc.Products = append(p.doc.Products, Product{ID: id, Component: None, Platform: None})
	}
	return r
}

// refList reads a list of product identifiers.
func (p *reading) refList(to *[]Ref) func() error {
	return func() error {
		return p.w.Array(func(int) error {
			var id string
			if err := p.value(&id); err != nil {
				return err
			}
			*to = append(*to, p.ref(id))
			return nil
		})
	}
}
