package oval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// Rules say how the definitions of a source become advisories about rpm packages.
type Rules struct {
	// Subject names the source in errors: "Oracle OVAL".
	Subject string
	// Scorer is who gave the scores of CVSS, unless they say so themselves.
	Scorer string
	// Severities map the source's words, in lower case, to severities.
	Severities map[string]advisory.Severity
	// Namespaces returns the namespaces in which a platform's packages are; none if it is not one of the source.
	Namespaces func(Platform) []string
	// Identify returns the id of the advisory and its address; no id if the definition is none.
	Identify func(*Definition) (id, link string)
	// Aliases returns further names of what the definition is about. Nil means that there are none but those that
	// [Definition.Record] finds.
	Aliases func(*Definition) []string
	// Refine changes a range as the source needs it, or says why it cannot be understood. Nil means as it is. The
	// range has a status and a name; the name of a package in a module is "MODULE:STREAM/NAME".
	Refine func(*Definition, Package, *advisory.Range) (problem string)
}

// Parse reads a document. A record is one definition of class patch or vulnerability. Only what is in the namespace
// becomes a range, unless it is "": each document speaks for one, and what it says of others stands in theirs. A
// record has no ranges if the definition names no package, such as one about a running kernel.
// Of several ranges of a package one counts, see [Ranges].
func (r Rules) Parse(open Opener, namespace string) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		for d, err := range Read(open) {
			if err != nil {
				yield(advisory.Record{}, fault.Wrap("parse", r.Subject, err))
				return
			}
			if d.Class != "patch" && d.Class != "vulnerability" {
				continue
			}
			if !r.emit(d, namespace, yield) {
				return
			}
		}
	}
}

// emit yields what a definition amounts to. It reports whether the consumer wants more.
func (r Rules) emit(d *Definition, namespace string, yield func(advisory.Record, error) bool) bool {
	record, problems := r.record(d, namespace)
	for _, problem := range problems {
		if !yield(advisory.Record{}, problem) {
			return false
		}
	}
	return record.ID == "" || yield(record, nil)
}

// record returns what a definition amounts to, and what of it cannot be used.
func (r Rules) record(d *Definition, namespace string) (advisory.Record, []*advisory.BadRecord) {
	var problems []*advisory.BadRecord
	record, err := d.Record(r.Scorer)
	record.ID, record.Link = r.Identify(d)
	if record.ID == "" {
		return advisory.Record{}, []*advisory.BadRecord{{Subject: d.ID, Reason: fmt.Sprintf("title %q tells no advisory", d.Title)}}
	}
	bad := func(subject, reason string) {
		problems = append(problems, &advisory.BadRecord{Subject: record.ID + subject, Reason: reason})
	}
	if err != nil {
		bad("", err.Error())
	}
	if r.Aliases != nil {
		for _, alias := range r.Aliases(d) {
			record.Aliases = appendNew(record.Aliases, alias)
		}
	}
	record.Aliases = slices.DeleteFunc(record.Aliases, func(alias string) bool { return alias == record.ID })
	var known bool
	if record.Severity, known = r.Severities[strings.ToLower(d.Severity)]; !known {
		bad("", fmt.Sprintf("severity %q is not known", d.Severity))
	}
	for _, id := range d.Dangling() {
		bad("", "test "+id+" is not in the document")
	}
	found := collection{namespace: namespace}
	var reasons []string
	names := make(map[string][]string) // by reason
	for _, p := range d.Packages() {
		if reason := found.add(r, d, p); reason != "" {
			reasons = appendNew(reasons, reason)
			names[reason] = appendNew(names[reason], cmp.Or(p.Name, p.Comment))
		}
	}
	for _, reason := range reasons {
		bad("", reason+": "+Few(names[reason]))
	}
	if reason := found.nothing(); reason != "" {
		bad("", reason)
	}
	record.Affected = found.ranges.All()
	return record, problems
}

// Few joins names for people, and counts those past the first.
func Few(names []string) string {
	const most = 5
	text := strings.Join(names[:min(most, len(names))], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

// collection is the ranges of a definition as they are found.
type collection struct {
	namespace string // the only one wanted, or ""
	ranges    Ranges
	elsewhere string // a namespace that is not wanted
	unknown   string // a platform that is not known
	unused    bool   // something was left out that is named otherwise
}

// add adds what is said of a package. It returns why that cannot be understood, or "".
func (c *collection) add(r Rules, d *Definition, p Package) (problem string) {
	if problem := p.unusable(); problem != "" {
		c.unused = true
		return problem
	}
	for _, platform := range p.Platforms {
		namespaces := r.Namespaces(platform)
		if len(namespaces) == 0 {
			c.unknown = platform.Package + " " + platform.Version
		}
		for _, namespace := range namespaces {
			if c.namespace != "" && namespace != c.namespace {
				c.elsewhere = namespace
				continue
			}
			for _, name := range p.names() {
				one := p.affected(d, namespace, name)
				if r.Refine != nil && one.Problem == "" {
					one.Problem = r.Refine(d, p, &one)
				}
				if reason := c.ranges.Put(one); reason != "" {
					problem = reason
				}
			}
		}
	}
	return problem
}

// unusable returns why nothing can be said of a package by its name, or "".
func (p *Package) unusable() string {
	switch {
	case len(p.Platforms) == 0:
		return "no platform is named"
	case p.Name == "":
		return cmp.Or(p.Problem, "a package without a name")
	case len(p.Modules) == 0 && p.isModular():
		return "it is in a module that is not named"
	}
	return ""
}

// names are the names by which advisories mean the package: one for each module stream.
func (p *Package) names() []string {
	if len(p.Modules) == 0 {
		return []string{p.Name}
	}
	var out []string
	for _, module := range p.Modules {
		out = append(out, module+"/"+p.Name)
	}
	return out
}

func (p *Package) affected(d *Definition, namespace, name string) advisory.Range {
	out := advisory.Range{
		Namespace: namespace, Scheme: version.RPM, Name: name,
		Introduced: p.Introduced, Fixed: p.Fixed, Urgency: d.Severity, Problem: p.Problem,
	}
	switch {
	case out.Problem != "":
		out.Introduced, out.Fixed = "", ""
	case p.NotAffected:
		out.Status = advisory.NotAffected
	case p.Fixed != "":
		out.Status = advisory.Fixed
	default:
		out.Status = advisory.Affected
	}
	return out
}

// nothing returns why there are no ranges though packages are named, or "".
func (c *collection) nothing() string {
	switch {
	case len(c.ranges.All()) > 0, c.unused:
		return ""
	case c.elsewhere != "":
		return "it is about " + c.elsewhere + ", not " + c.namespace
	case c.unknown != "":
		return "none of its platforms is known, such as " + c.unknown
	}
	return ""
}
