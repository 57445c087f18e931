package oval

import (
	"strings"

	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/xmlstream"
)

// Definition is one definition of a document: what a vendor says of one vulnerability, or one update. Texts are as
// published, but for the white space around them.
type Definition struct {
	ID          string // "oval:com.redhat.rhsa:def:20190966"
	Class       string // "patch", "vulnerability", "inventory"
	Title       string // on one line
	Description string
	References  []Reference
	Severity    string
	Issued      string // a date, in one of the forms that [Time] reads
	Updated     string // likewise
	Public      string // when the vulnerability became known, likewise
	CVEs        []CVE
	Resolutions []Resolution
	Criteria    Criteria
}

// Reference is a document that a definition refers to, often the advisory itself.
type Reference struct{ Source, ID, URL string }

// CVE is what a definition says of one of its vulnerabilities. Attributes are empty where the vendor has none.
type CVE struct {
	Text   string // the identifier; SUSE adds who scored: "CVE-2021-3711 at NVD"
	Public string // when it became known, in one of the forms that [Time] reads
	CVSS2  string // "6.8/AV:N/AC:M/Au:N/C:P/I:P/A:P"
	CVSS3  string // "7.5/CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
	CVSS4  string // likewise
	Score  string // of Vector, where the two stand by themselves, as Ubuntu has it
	Vector string
}

// Resolution is what will be done about components of a product, as Red Hat has it.
type Resolution struct {
	State      string // "Will not fix"
	Components []string
}

// Criteria is a node of the tree of what has to be true.
type Criteria struct {
	Or         bool // one of what is in it is enough; else all are needed
	Negated    bool
	Groups     []Criteria
	Criterions []Criterion
}

// Criterion is a leaf of that tree: a test, or another definition.
type Criterion struct {
	Comment string
	Negated bool
	TestID  string // "" for another definition
	Test    Test   // zero where the document has no such test
}

// readDefinition reads the open element, a definition.
func readDefinition(w *xmlstream.Walker, e xmlstream.Element, t *tables) (*Definition, error) {
	r := definitionReader{w: w, t: t, began: w.Offset()}
	r.d.ID, r.d.Class = e.Attribute("id"), e.Attribute("class")
	err := w.Children(func(e xmlstream.Element) error {
		switch e.Name {
		case "metadata":
			return w.Children(r.metadata)
		case "criteria":
			return r.criteria(e, &r.d.Criteria)
		}
		return nil
	})
	return &r.d, err
}

// definitionReader fills a definition.
type definitionReader struct {
	w     *xmlstream.Walker
	t     *tables
	d     Definition
	began int64 // where the definition did
	names int   // of packages in tests
}

func (r *definitionReader) metadata(e xmlstream.Element) error {
	switch e.Name {
	case "title":
		text, err := r.text()
		r.d.Title = strings.Join(strings.Fields(text), " ")
		return err
	case "description":
		return r.textInto(&r.d.Description)
	case "reference":
		r.d.References = append(r.d.References, Reference{
			Source: e.Attribute("source"), ID: e.Attribute("ref_id"), URL: e.Attribute("ref_url"),
		})
	case "advisory":
		return r.w.Children(r.advisory)
	}
	return checkSize(r.w, r.began)
}

func (r *definitionReader) advisory(e xmlstream.Element) error {
	switch e.Name {
	case "severity":
		return r.textInto(&r.d.Severity)
	case "issued":
		r.d.Issued = e.Attribute("date")
	case "updated":
		r.d.Updated = e.Attribute("date")
	case "public_date":
		return r.textInto(&r.d.Public)
	case "cve":
		c := CVE{
			Public: e.Attribute("public"),
			CVSS2:  e.Attribute("cvss2"), CVSS3: e.Attribute("cvss3"), CVSS4: e.Attribute("cvss4"),
			Score: e.Attribute("cvss_score"), Vector: e.Attribute("cvss_vector"),
		}
		err := r.textInto(&c.Text)
		r.d.CVEs = append(r.d.CVEs, c)
		return err
	case "affected":
		return r.w.Children(func(e xmlstream.Element) error {
			if e.Name != "resolution" {
				return nil
			}
			resolution := Resolution{State: e.Attribute("state")}
			err := r.w.Children(func(e xmlstream.Element) error {
				if e.Name != "component" {
					return nil
				}
				return r.appendText(&resolution.Components)
			})
			r.d.Resolutions = append(r.d.Resolutions, resolution)
			return err
		})
	}
	return checkSize(r.w, r.began)
}

func (r *definitionReader) criteria(e xmlstream.Element, into *Criteria) error {
	into.Or = isOr(e.Attribute("operator"))
	into.Negated = e.Attribute("negate") == "true"
	return r.w.Children(func(e xmlstream.Element) error {
		switch e.Name {
		case "criteria":
			var group Criteria
			err := r.criteria(e, &group)
			into.Groups = append(into.Groups, group)
			return err
		case "criterion":
			c := Criterion{Comment: e.Attribute("comment"), Negated: e.Attribute("negate") == "true", TestID: e.Attribute("test_ref")}
			c.Test = r.t.test(c.TestID)
			r.names += max(1, len(c.Test.Names))
			if err := limits.Check("packages of "+r.d.ID, "packages", maxPackages, int64(r.names)); err != nil {
				return err
			}
			into.Criterions = append(into.Criterions, c)
		case "extend_definition":
			into.Criterions = append(into.Criterions, Criterion{Comment: e.Attribute("comment")})
		}
		return checkSize(r.w, r.began)
	})
}

// isOr reports whether an operator asks for one of several; ONE and XOR ask for exactly one and an odd number, which
// is the same for conditions that exclude each other. The default is AND.
func isOr(operator string) bool {
	return operator == "OR" || operator == "ONE" || operator == "XOR"
}

func (r *definitionReader) text() (string, error) {
	text, err := r.w.Text()
	if err == nil {
		err = checkSize(r.w, r.began)
	}
	return strings.TrimSpace(text), err
}

func (r *definitionReader) textInto(into *string) error {
	text, err := r.text()
	*into = text
	return err
}

func (r *definitionReader) appendText(into *[]string) error {
	text, err := r.text()
	*into = append(*into, text)
	return err
}
