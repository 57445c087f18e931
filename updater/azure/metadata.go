package azure

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/xmlstream"
)

// metadata is what Microsoft adds to a definition.
type metadata struct {
	severity  string // "Medium"
	patchable string // "true", "false", "Not Applicable"
	issued    string
}

// decide makes the status of a range what the definition says of a patch.
func (m metadata) decide(a *advisory.Range) {
	switch strings.ToLower(m.patchable) {
	case "not applicable":
		a.Introduced, a.Fixed, a.Problem, a.Status = "", "", "", advisory.NotAffected
	case "true":
		if a.Fixed == "" && a.Problem == "" {
			a.Problem = "there is a patch, and no version that has it"
		}
	case "false":
	default:
		a.Problem = fmt.Sprintf("patchable is %q, which is not known", m.patchable)
	}
}

// readMetadata returns what is added to each definition, by its id.
func readMetadata(open oval.Opener) (_ map[string]metadata, err error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	out := make(map[string]metadata)
	w := xmlstream.New(r)
	err = w.Document("oval_definitions", func(xmlstream.Element) error {
		return within(w, "definitions", func(xmlstream.Element) error {
			return within(w, "definition", func(e xmlstream.Element) error {
				id := e.Attribute("id")
				return within(w, "metadata", func(xmlstream.Element) error {
					m, err := readOne(w)
					out[id] = m
					return err
				})
			})
		})
	})
	return out, err
}

// within visits the children of that name.
func within(w *xmlstream.Walker, name string, visit func(xmlstream.Element) error) error {
	return w.Children(func(e xmlstream.Element) error {
		if e.Name != name {
			return nil
		}
		return visit(e)
	})
}

func readOne(w *xmlstream.Walker) (m metadata, err error) {
	err = w.Children(func(e xmlstream.Element) error {
		var to *string
		switch e.Name {
		case "severity":
			to = &m.severity
		case "patchable":
			to = &m.patchable
		case "advisory_date":
			to = &m.issued
		default:
			return nil
		}
		text, err := w.Text()
		*to = strings.TrimSpace(text)
		return err
	})
	return m, err
}
