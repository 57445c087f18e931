package redhat

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/csaf"
	"github.com/trawl-scanner/trawl/updater/cvss"
)

// Census counts what documents speak of, and so what of it was left out.
type Census struct {
	Documents  int
	Mainstream int // statements about rpms of the mainstream: these become ranges
	Minor      int // statements about minor releases under extended support
	Layered    int // statements about layered products
	NotRPM     int // statements about images, Maven artifacts and the like on the mainstream
	Whole      int // statements about a product as a whole
}

// document turns one document into records, one for each of its vulnerabilities: real ones have one. It reports
// whether the consumer wants more.
func (c *Census) document(d *csaf.Document, yield func(advisory.Record, error) bool) bool {
	c.Documents++
	m := mapping{document: d, census: c, places: make(map[csaf.Ref]located), components: make(map[csaf.Ref]identified)}
	for i := range d.Vulnerabilities {
		record := m.record(&d.Vulnerabilities[i])
		for _, bad := range m.bad {
			if !yield(advisory.Record{}, &advisory.BadRecord{Subject: record.ID + "/" + bad.Subject, Reason: bad.Reason}) {
				return false
			}
		}
		m.bad = nil
		if !yield(record, nil) {
			return false
		}
	}
	return true
}

// mapping is one document on its way to records. What its products come to is worked out once each.
type mapping struct {
	document   *csaf.Document
	census     *Census
	places     map[csaf.Ref]located
	components map[csaf.Ref]identified
	bad        []advisory.BadRecord
}

type located struct {
	namespace string
	reach     reach
}

type identified struct {
	component
	err error
}

func (m *mapping) record(v *csaf.Vulnerability) advisory.Record {
	d := m.document
	r := advisory.Record{
		ID: v.CVE, Description: v.Description, Severity: severity(d.Severity),
		Published: v.Published, Modified: d.Modified,
	}
	if r.ID == "" {
		r.ID = d.ID
	}
	if r.Published.IsZero() {
		r.Published = d.Published
	}
	if r.Description == "" {
		r.Description = v.Title
	}
	r.Link = "https://access.redhat.com/security/cve/" + r.ID
	r.CVSS = m.scores(v)
	r.Affected = m.affected(v)
	return r
}

// scores returns the distinct scores of a vulnerability. Red Hat scores the products alike.
func (m *mapping) scores(v *csaf.Vulnerability) []advisory.CVSS {
	var out []advisory.CVSS
	var refused []string
	for _, s := range v.Scores {
		for _, vector := range s.Vectors {
			c, err := cvss.Parse("redhat", vector)
			switch {
			case err != nil && !slices.Contains(refused, vector):
				refused = append(refused, vector)
				m.bad = append(m.bad, advisory.BadRecord{Subject: "score", Reason: err.Error()})
			case err == nil && !slices.Contains(out, c):
				out = append(out, c)
			}
		}
	}
	return out
}

// statuses are those that say something about packages.
var statuses = map[csaf.Status]advisory.Status{
	csaf.Fixed:              advisory.Fixed,
	csaf.FirstFixed:         advisory.Fixed,
	csaf.KnownAffected:      advisory.Affected,
	csaf.FirstAffected:      advisory.Affected,
	csaf.LastAffected:       advisory.Affected,
	csaf.UnderInvestigation: advisory.UnderInvestigation,
	csaf.KnownNotAffected:   advisory.NotAffected,
}

func (m *mapping) affected(v *csaf.Vulnerability) []advisory.Range {
	out := newVerdicts()
	remedy, impact := remedies(v), impacts(v)
	for _, named := range slices.Sorted(maps.Keys(v.Products)) {
		refs := v.Products[named]
		status, ok := statuses[named]
		if !ok {
			if named != csaf.Recommended { // an update to take, which says nothing about what is affected
				m.bad = append(m.bad, advisory.BadRecord{Subject: string(named), Reason: fmt.Sprintf("%d products of a status that is not known", len(refs))})
			}
			continue
		}
		for _, ref := range refs {
			namespace, component, ok := m.resolve(ref)
			if !ok {
				continue
			}
			s := statement{status: status, urgency: impact[ref], severity: severity(impact[ref])}
			if why, told := remedy[ref]; told && status == advisory.Affected {
				s.status = why
			}
			out.add(namespace, component, s)
		}
	}
	slices.SortFunc(m.bad, func(a, b advisory.BadRecord) int {
		return compareNames(name{a.Subject, a.Reason}, name{b.Subject, b.Reason})
	})
	return out.affected()
}

// impacts returns Red Hat's rating for each product.
func impacts(v *csaf.Vulnerability) map[csaf.Ref]string {
	out := make(map[csaf.Ref]string)
	for _, t := range v.Threats {
		if t.Category == "impact" {
			for _, ref := range t.Products {
				out[ref] = t.Details
			}
		}
	}
	return out
}

// resolve returns what a statement about the product is about. ok is false where it is about no rpm of the
// mainstream: then it was counted, or noted as bad.
func (m *mapping) resolve(ref csaf.Ref) (namespace string, c component, ok bool) {
	part, platform, ok := m.document.Resolve(ref)
	if !ok {
		if p := m.document.Products[ref]; p.Defined && p.Component == csaf.None {
			m.census.Whole++
		} else {
			m.note(ref, errors.New("the product tree does not tell what it is"))
		}
		return "", component{}, false
	}
	switch at := m.place(platform); at.reach {
	case mainstream:
		namespace = at.namespace
	case minor:
		m.census.Minor++
		return "", component{}, false
	case layered:
		m.census.Layered++
		return "", component{}, false
	default:
		return "", component{}, false // noted when it was looked at
	}
	id, known := m.components[part]
	if !known {
		id.component, id.err = parseComponent(&m.document.Products[part])
		m.components[part] = id
		if id.err != nil && !errors.Is(id.err, errNotRPM) {
			m.note(part, id.err)
		}
	}
	switch {
	case id.err == nil:
		m.census.Mainstream++
	case errors.Is(id.err, errNotRPM):
		m.census.NotRPM++
	}
	return namespace, id.component, id.err == nil
}

func (m *mapping) place(platform csaf.Ref) located {
	at, known := m.places[platform]
	if !known {
		var err error
		if at.namespace, at.reach, err = place(m.document.Products[platform].CPE); err != nil {
			m.note(platform, err)
		}
		m.places[platform] = at
	}
	return at
}

// note keeps what could not be understood about a product.
func (m *mapping) note(ref csaf.Ref, err error) {
	m.bad = append(m.bad, advisory.BadRecord{Subject: m.document.Products[ref].ID, Reason: err.Error()})
}
