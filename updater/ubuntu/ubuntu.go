// Package ubuntu reads the OVAL definitions of Ubuntu, https://security-metadata.canonical.com/oval/.
//
// # Formats
//
// There are two documents for each release. In com.ubuntu.NAME.cve.oval.xml a definition is one vulnerability with
// all source packages it concerns, fixed or not: [Parse]. In com.ubuntu.NAME.usn.oval.xml it is one notice, USN-6718-3
// or LSN-0104-1, which tells what is fixed: [ParseNotices]. The first says all that the second says, but for the
// numbers of the notices, and says it better.
//
// # Source packages
//
// Ubuntu's advisories are about source packages, and so are the namespaces. The tests of both documents are about the
// binary packages that are built from one. In the first the comment of each test begins with the name of the source
// package, which is taken; see comment.go. The second does not tell it at all; see source.go for how it is found.
//
// The ids of definitions tell the release: oval:com.ubuntu.focal:def:….
package ubuntu

import (
	"fmt"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Address is where the documents are.
const Address = "https://security-metadata.canonical.com/oval/"

// Releases are the code names of the releases that have documents.
var Releases = []string{
	"trusty", "xenial", "bionic", "focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute",
}

// Feed returns the addresses of the documents of a release, of vulnerabilities and of notices, and the namespace that
// both speak for.
func Feed(codename string) (vulnerabilities, notices, namespace string) {
	namespace, _ = distro.Distribution{ID: "ubuntu", Codename: codename}.Namespace()
	stem := Address + "com.ubuntu." + codename
	return stem + ".cve.oval.xml.bz2", stem + ".usn.oval.xml.bz2", namespace
}

// Parse reads a document of vulnerabilities. A record is one definition; its id is CVE-….
func Parse(open oval.Opener) advisory.Records { return records(open, "Ubuntu CVE OVAL", vulnerability) }

// vulnerability returns what a definition of a vulnerability amounts to.
func vulnerability(d *oval.Definition, namespace string) result {
	if d.Class != "vulnerability" {
		return result{skip: true}
	}
	reference, _ := d.Reference("CVE")
	r := newResult(d, reference.ID)
	r.record.Aliases = nil // it is the vulnerability
	r.record.Link = "https://ubuntu.com/security/" + r.record.ID
	for c := range criterions(&d.Criteria) {
		r.state(c, namespace, d.Severity)
	}
	return r
}

// result is what a definition amounts to, and what of it cannot be used.
type result struct {
	skip   bool // it is no advisory
	record advisory.Record
	ranges oval.Ranges
	bad    []advisory.BadRecord
}

// newResult returns what the metadata of a definition amount to.
func newResult(d *oval.Definition, id string) result {
	record, err := d.Record("ubuntu")
	record.ID = id
	r := result{record: record}
	if id == "" {
		r.bad = []advisory.BadRecord{{Subject: d.ID, Reason: fmt.Sprintf("title %q tells no advisory", d.Title)}}
		return r
	}
	if err != nil {
		r.problem("", err.Error())
	}
	var known bool
	if r.record.Severity, known = severities[strings.ToLower(d.Severity)]; !known {
		r.problem("", fmt.Sprintf("severity %q is not known", d.Severity))
	}
	return r
}

// problem notes what of the record could not be used.
func (r *result) problem(name, reason string) {
	r.bad = append(r.bad, advisory.BadRecord{Subject: r.record.ID + name, Reason: reason})
}

// severities maps Ubuntu's priorities, https://ubuntu.com/security/cves/about#priority. A notice about no
// vulnerability has none.
var severities = map[string]advisory.Severity{
	"":           advisory.Unknown,
	"none":       advisory.Unknown,
	"untriaged":  advisory.Unknown,
	"negligible": advisory.Negligible,
	"low":        advisory.Low,
	"medium":     advisory.Medium,
	"high":       advisory.High,
	"critical":   advisory.Critical,
}

// records reads a document and yields what convert makes of its definitions.
func records(open oval.Opener, subject string, convert func(*oval.Definition, string) result) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		for d, err := range oval.Read(open) {
			if err != nil {
				yield(advisory.Record{}, fault.Wrap("parse", subject, err))
				return
			}
			namespace, known := namespaceOf(d)
			if !known {
				bad := &advisory.BadRecord{Subject: d.ID, Reason: "its release of Ubuntu is not known"}
				if !yield(advisory.Record{}, bad) {
					return
				}
				continue
			}
			if !convert(d, namespace).emit(yield) {
				return
			}
		}
	}
}

// emit yields the result. It reports whether the consumer wants more.
func (r result) emit(yield func(advisory.Record, error) bool) bool {
	for i := range r.bad {
		if !yield(advisory.Record{}, &r.bad[i]) {
			return false
		}
	}
	if r.skip || r.record.ID == "" {
		return true
	}
	r.record.Affected = r.ranges.All()
	return yield(r.record, nil)
}

// namespaceOf returns the namespace of the release that a definition is about. Before its code name in the id may
// stand what kind of support it is about: "esm-infra_xenial".
func namespaceOf(d *oval.Definition) (namespace string, known bool) {
	parts := strings.SplitN(d.ID, ":", 3)
	if len(parts) < 3 || !strings.HasPrefix(parts[1], "com.ubuntu.") {
		return "", false
	}
	name := strings.TrimPrefix(parts[1], "com.ubuntu.")
	name = name[strings.LastIndexAny(name, "_/.")+1:]
	return distro.Distribution{ID: "ubuntu", Codename: name}.Namespace()
}

// criterions returns the tests of criteria, depth first.
func criterions(c *oval.Criteria) func(yield func(*oval.Criterion) bool) {
	return func(yield func(*oval.Criterion) bool) { each(c, yield) }
}

func each(c *oval.Criteria, yield func(*oval.Criterion) bool) bool {
	for i := range c.Criterions {
		if c.Criterions[i].TestID != "" && !yield(&c.Criterions[i]) {
			return false
		}
	}
	for i := range c.Groups {
		if !each(&c.Groups[i], yield) {
			return false
		}
	}
	return true
}

// newRange returns a range of which the status is not known yet.
func newRange(namespace, name, urgency string) advisory.Range {
	return advisory.Range{Namespace: namespace, Scheme: version.Dpkg, Name: name, Urgency: urgency}
}
