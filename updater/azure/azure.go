// Package azure reads the OVAL definitions of Azure Linux and of its predecessor CBL-Mariner,
// https://github.com/microsoft/AzureLinuxVulnerabilityData.
//
// A definition is one vulnerability in one source package: the documents name source packages only. The id of the
// record is that of the vulnerability; two definitions for two tracks of a package are two ranges of one advisory.
// There is a document for each release, and no definition names its platform.
//
// What Microsoft adds to OVAL stands in metadata that OVAL has no place for: the severity, and whether there is a
// patch. A definition that is "not applicable" says that the package is not affected. One without a patch has the newest
// version as the last that is affected; that is how far Microsoft has looked, not an end, and the range has none.
package azure

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Feed is one document.
type Feed struct {
	Address   string
	Namespace string // that it speaks for
}

const root = "https://raw.githubusercontent.com/microsoft/AzureLinuxVulnerabilityData/main/"

// Feeds are the documents that are known.
var Feeds = []Feed{
	{root + "azurelinux-3.0-oval.xml", "azurelinux:3"},
	{root + "cbl-mariner-2.0-oval.xml", "mariner:2"},
	{root + "cbl-mariner-1.0-oval.xml", "mariner:1"},
}

// severities maps Microsoft's words.
var severities = map[string]advisory.Severity{
	"low":      advisory.Low,
	"medium":   advisory.Medium,
	"moderate": advisory.Medium,
	"high":     advisory.High,
	"critical": advisory.Critical,
}

// Parse reads a document, which speaks for namespace. A record is one definition; memory is bounded by the tables that
// package oval keeps, and some hundred bytes for each definition.
func Parse(open oval.Opener, namespace string) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		added, err := readMetadata(open)
		if err != nil {
			yield(advisory.Record{}, fault.Wrap("parse", "OVAL of "+namespace, err))
			return
		}
		for d, err := range oval.Read(open) {
			if err != nil {
				yield(advisory.Record{}, fault.Wrap("parse", "OVAL of "+namespace, err))
				return
			}
			if d.Class != "vulnerability" {
				continue
			}
			record, bad := convert(d, added[d.ID], namespace)
			for _, b := range bad {
				if !yield(advisory.Record{}, &b) {
					return
				}
			}
			if record.ID != "" && !yield(record, nil) {
				return
			}
		}
	}
}

var cve = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)

// convert returns the record of a definition, and what of it cannot be used.
func convert(d *oval.Definition, m metadata, namespace string) (advisory.Record, []advisory.BadRecord) {
	reference, _ := d.Reference("CVE")
	if !cve.MatchString(reference.ID) {
		return advisory.Record{}, []advisory.BadRecord{{Subject: d.ID, Reason: fmt.Sprintf("reference %q is not that of a vulnerability", reference.ID)}}
	}
	var bad []advisory.BadRecord
	note := func(format string, args ...any) {
		bad = append(bad, advisory.BadRecord{Subject: reference.ID + "/" + d.ID, Reason: fmt.Sprintf(format, args...)})
	}
	record := advisory.Record{ID: reference.ID, Link: reference.URL, Description: d.Description}
	severity, known := severities[strings.ToLower(m.severity)]
	if !known {
		note("severity %q is not known", m.severity)
	}
	if m.issued != "" {
		issued, err := oval.Time(m.issued)
		if err != nil {
			note("%v", err)
		}
		record.Published = issued
	}
	for _, id := range d.Dangling() {
		note("test %s is not in the document", id)
	}
	for _, a := range affected(d) {
		a.Namespace, a.Scheme, a.Severity, a.Urgency = namespace, version.RPM, severity, m.severity
		m.decide(&a)
		record.Affected = append(record.Affected, a)
	}
	if len(record.Affected) == 0 {
		note("it names no package")
	}
	return record, bad
}

// affected returns what the criteria say of each package: they are in AND, and those about one package are the two ends of
// one range.
func affected(d *oval.Definition) []advisory.Range {
	var out []advisory.Range
	for _, c := range d.Criteria.Criterions {
		for _, name := range c.Test.Names {
			i := slices.IndexFunc(out, func(a advisory.Range) bool { return a.Name == name })
			if i < 0 {
				i = len(out)
				out = append(out, advisory.Range{Name: name, Status: advisory.Affected})
			}
			bound(&out[i], c.Test)
		}
	}
	if d.Criteria.Or || d.Criteria.Negated || len(d.Criteria.Groups) > 0 {
		for i := range out {
			out[i].Problem = "criteria that are not a list in AND"
		}
	}
	return out
}

// bound sets the end of a range that a test is about.
func bound(a *advisory.Range, t oval.Test) {
	evr := strings.TrimPrefix(t.State.EVR.Text, "0:")
	switch {
	case t.Kind != "rpminfo" || t.Unclear != "" || evr == "":
		a.Problem = "a test of another kind than a version"
	case t.State.EVR.Operation == "less than":
		a.Fixed, a.Status = evr, advisory.Fixed
	case t.State.EVR.Operation == "greater than", t.State.EVR.Operation == "greater than or equal":
		// The version itself is taken in: ranges begin with one that is affected.
		a.Introduced = evr
	case t.State.EVR.Operation == "less than or equal":
		a.Fixed, a.Status = "", advisory.Affected // see metadata.decide
	default:
		a.Problem = "versions " + t.State.EVR.Operation + " " + evr
	}
	for _, v := range []string{a.Introduced, a.Fixed} {
		if _, err := version.Key(version.RPM, v); v != "" && err != nil {
			a.Problem = err.Error()
		}
	}
}
