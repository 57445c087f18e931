// Package csaf reads documents of the Common Security Advisory Framework 2.0,
// https://docs.oasis-open.org/csaf/csaf/v2.0/os/csaf-v2.0-os.html, as far as they tell which products are
// affected by what: the VEX profile (section 4.5), and what the other profiles share with it.
//
// It does not know any vendor's products; what a document's products mean to packages is for the packages that
// are named after the vendors. It does not validate: a document is refused where it cannot be understood, not
// where it breaks a rule that does not matter here.
//
// # Memory
//
// A document names the same products again and again, each time by an identifier of some sixty bytes: in
// relationships, statuses, remediations, threats and scores. It is read as a stream in which each name is replaced by
// its number at once. So a document takes memory in proportion to the number of its products, about a tenth of its size.
package csaf

import "time"

// MaxBytes is the size up to which a document is read. The largest real ones have some 100 MiB.
const MaxBytes = 512 << 20

// Document is one CSAF document.
type Document struct {
	ID     string // tracking identifier: "CVE-2024-0727"
	Title  string
	Status string // tracking status: "final", "interim", "draft"; some vendors have "deleted"
	// Severity is the document's aggregate severity, in the vendor's words.
	Severity  string
	Published time.Time // first release; zero if not told
	Modified  time.Time // current release; zero if not told
	// Products are all products that the document names; a [Ref] is a position here.
	Products        []Product
	Vulnerabilities []Vulnerability
}

// Ref is a product, as its position in the Products of its document.
type Ref int32

// None is the Ref of no product.
const None Ref = -1

// Product is one product of a document's product tree.
type Product struct {
	ID   string
	Name string // "" for a component of another product
	CPE  string // of the identification helper, as written; "" if not told
	PURL string // of the identification helper, as written; "" if not told
	// Component and Platform tell that the product is a component of another one. They are None in a product
	// that stands by itself.
	Component, Platform Ref
	// Defined reports whether the product tree has the product. Without it the document only mentions it.
	Defined bool
}

// Vulnerability is what a document says about one vulnerability.
type Vulnerability struct {
	CVE         string
	Title       string
	Description string // the note of category description, or else the summary
	Published   time.Time
	Weakness    string // "CWE-476"
	Link        string // the reference of category self, or else the first
	// Products are the products by status. A product may have more than one status.
	Products map[Status][]Ref
	Remedies []Remedy
	Threats  []Threat
	Scores   []Score
}

// Status is what a vulnerability means to a product, section 3.2.3.9 of the standard.
type Status string

// The statuses.
const (
	FirstAffected      Status = "first_affected"
	FirstFixed         Status = "first_fixed"
	Fixed              Status = "fixed"
	KnownAffected      Status = "known_affected"
	KnownNotAffected   Status = "known_not_affected"
	LastAffected       Status = "last_affected"
	Recommended        Status = "recommended"
	UnderInvestigation Status = "under_investigation"
)

// Remedy is what can be done about a vulnerability in some products, section 3.2.3.12.
type Remedy struct {
	Category string // "vendor_fix", "no_fix_planned", "none_available", "workaround", "mitigation"
	Details  string
	URL      string
	Products []Ref

	groups []string
}

// Threat says how a vulnerability threatens some products, section 3.2.3.14.
type Threat struct {
	Category string // "impact", "exploit_status", "target_set"
	Details  string
	Products []Ref

	groups []string
}

// Score is the scores of a vulnerability in some products, section 3.2.3.13.
type Score struct {
	Vectors  []string // as published, of any version of CVSS
	Products []Ref
}

// Resolve returns the component that a product is, and the platform that has it: from a component of a
// component it takes the innermost and the outermost. ok is false where the product is no component, or where the
// product tree does not lead to products that stand by themselves.
func (d *Document) Resolve(r Ref) (component, platform Ref, ok bool) {
	component, ok = d.end(r, func(p *Product) Ref { return p.Component })
	if !ok || component == r {
		return None, None, false
	}
	platform, ok = d.end(r, func(p *Product) Ref { return p.Platform })
	return component, platform, ok
}

// maxHops bounds how deep components may lie in one another. Real ones lie two deep.
const maxHops = 16

// end follows next from r to the product that stands by itself.
func (d *Document) end(r Ref, next func(*Product) Ref) (Ref, bool) {
	for range maxHops {
		if r < 0 || int(r) >= len(d.Products) || !d.Products[r].Defined {
			return None, false
		}
		n := next(&d.Products[r])
		if n == None {
			return r, true
		}
		r = n
	}
	return None, false
}
