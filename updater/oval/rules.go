package oval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
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
	// Amend changes what the metadata of a definition amount to as the source needs it. Nil means as it is.
	Amend func(*Definition, *advisory.Record)
	// Refine changes a range as the source needs it, or says why it cannot be understood. Nil means as it is. The
	// range has a status and a name; the name of a package in a module is "MODULE:STREAM/NAME".
	Refine func(*Definition, Package, *advisory.Range) (problem string)
}

// Parse reads a document. A record is one definition of class patch or vulnerability. Only what is in the namespace
// becomes a range, unless it is "": each document speaks for one, and what it says of others stands in theirs. Of
// several ranges of a package one counts, see [Ranges]. A record has no ranges if the definition names no package,
// such as one about a running kernel.
func (r Rules) Parse(open Opener, namespace string) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		for d, err := range Read(open) {
			c := conversion{rules: r, definition: d, namespace: namespace}
			if err == nil {
				err = c.run()
			}
			if err != nil {
				yield(advisory.Record{}, fault.Wrap("parse", r.Subject, err))
				return
			}
			if !c.emit(yield) {
				return
			}
		}
	}
}

// conversion is a definition becoming a record.
type conversion struct {
	rules      Rules
	definition *Definition
	namespace  string // the only one wanted, or ""

	record    advisory.Record // without an id if the definition is no advisory
	bad       []advisory.BadRecord
	ranges    Ranges
	elsewhere string // a namespace that is not wanted
	unknown   string // a platform that is not known
	unused    bool   // something was left out that is told otherwise
}

// run converts the definition. The error says that it is too large.
func (c *conversion) run() error {
	d := c.definition
	if d.Class != "patch" && d.Class != "vulnerability" {
		return nil
	}
	id, link := c.rules.Identify(d)
	if id == "" {
		c.bad = []advisory.BadRecord{{Subject: d.ID, Reason: fmt.Sprintf("title %.100q tells no advisory", d.Title)}}
		return nil
	}
	c.describe(id, link)
	packages := d.Packages()
	total := 0
	for _, p := range packages {
		total += max(1, len(p.Platforms)) * max(1, len(p.Modules))
		if err := limits.Check("ranges of "+d.ID, "ranges", maxPackages, int64(total)); err != nil {
			return err
		}
	}
	var reasons distinct[string]
	names := make(map[string]*distinct[string]) // by reason
	for _, p := range packages {
		reason := c.add(p)
		if reason == "" {
			continue
		}
		if !reasons.contains(reason) {
			reasons.add(reason)
			names[reason] = new(distinct[string])
		}
		names[reason].add(cmp.Or(p.Name, p.Comment))
	}
	for _, reason := range reasons.items {
		c.problem(reason + ": " + Few(names[reason].items))
	}
	if reason := c.nothing(); reason != "" {
		c.problem(reason)
	}
	c.record.Affected = c.ranges.All()
	return nil
}

// describe fills in the record what is not about packages.
func (c *conversion) describe(id, link string) {
	d := c.definition
	record, err := d.Record(c.rules.Scorer)
	c.record = record
	c.record.ID, c.record.Link = id, link
	if err != nil {
		c.problem(err.Error())
	}
	if c.rules.Amend != nil {
		c.rules.Amend(d, &c.record)
	}
	c.record.Aliases = slices.DeleteFunc(c.record.Aliases, func(alias string) bool { return alias == id })
	var known bool
	if c.record.Severity, known = c.rules.Severities[strings.ToLower(d.Severity)]; !known {
		c.problem(fmt.Sprintf("severity %.100q is not known", d.Severity))
	}
	if dangling := d.Dangling(); len(dangling) > 0 {
		c.problem("tests that are not in the document: " + Few(dangling))
	}
}

// problem notes what of the definition cannot be used.
func (c *conversion) problem(reason string) {
	c.bad = append(c.bad, advisory.BadRecord{Subject: c.record.ID, Reason: reason})
}

// emit yields what the definition amounts to. It reports whether the consumer wants more.
func (c *conversion) emit(yield func(advisory.Record, error) bool) bool {
	for i := range c.bad {
		if !yield(advisory.Record{}, &c.bad[i]) {
			return false
		}
	}
	return c.record.ID == "" || yield(c.record, nil)
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

// add adds what is said of a package. It returns why that cannot be understood, or "".
func (c *conversion) add(p Package) (problem string) {
	if problem := p.unusable(); problem != "" {
		c.unused = true
		return problem
	}
	for _, platform := range p.Platforms {
		namespaces := c.rules.Namespaces(platform)
		if len(namespaces) == 0 {
			c.unknown = platform.Package + " " + platform.Version
		}
		for _, namespace := range namespaces {
			if c.namespace != "" && namespace != c.namespace {
				c.elsewhere = namespace
				continue
			}
			for _, name := range p.names() {
				one := p.affected(c.definition, namespace, name)
				if c.rules.Refine != nil && one.Problem == "" {
					one.Problem = c.rules.Refine(c.definition, p, &one)
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
func (c *conversion) nothing() string {
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
