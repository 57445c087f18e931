// Package rhsa reads the OVAL definitions of Red Hat Enterprise Linux, for sites that have them: Red Hat itself has
// moved on to CSAF VEX.
//
// # Format
//
// Version 1 has a document for each release with its advisories (com.redhat.rhsa-RHEL8.xml,
// https://www.redhat.com/security/data/oval/). Version 2 has one for each stream of a release
// (rhel-8-including-unpatched.oval.xml, https://access.redhat.com/security/data/oval/v2/), and besides advisories
// lists vulnerabilities that are not fixed, with what will become of them, and those that do not affect the release.
//
// The id of an advisory is RHSA-2019:0966, or RHBA or RHEA; its vulnerabilities are its aliases. The id of a
// vulnerability that has no advisory is CVE-….
package rhsa

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Releases are the releases that have documents, of one version or the other.
var Releases = []string{"5", "6", "7", "8", "9"}

// Feeds returns the addresses of the documents of a release, the best first, and the namespace that they speak for.
// Each says all that the ones behind it say.
func Feeds(release string) (addresses []string, namespace string) {
	const v2 = "https://access.redhat.com/security/data/oval/v2/RHEL"
	return []string{
		v2 + release + "/rhel-" + release + "-including-unpatched.oval.xml.bz2",
		"https://www.redhat.com/security/data/oval/com.redhat.rhsa-RHEL" + release + ".xml",
	}, "rhel:" + release
}

// Parse reads a document; only what is in the namespace counts, unless it is "". See [oval.Rules.Parse].
func Parse(open oval.Opener, namespace string) advisory.Records { return rules.Parse(open, namespace) }

var rules = oval.Rules{
	Subject:    "Red Hat OVAL",
	Scorer:     "redhat",
	Severities: severities,
	Namespaces: namespaces,
	Identify:   identify,
	Amend:      amend,
	Refine:     resolve,
}

// identify returns the id and the address of what a definition is about.
func identify(d *oval.Definition) (id, link string) {
	if reference, ok := d.Reference("RHSA"); ok { // also for RHBA and RHEA
		return reference.ID, reference.URL
	}
	if reference, ok := d.Reference("CVE"); ok && d.Class == "vulnerability" {
		return reference.ID, reference.URL
	}
	return "", ""
}

// isUnaffected reports whether a definition is of the other kind that there is of vulnerabilities: what they do not
// affect.
func isUnaffected(d *oval.Definition) bool {
	return strings.HasPrefix(d.ID, "oval:com.redhat.unaffected:")
}

// amend leaves the description of a vulnerability to the definition that tells what it affects.
func amend(d *oval.Definition, r *advisory.Record) {
	if isUnaffected(d) {
		r.Description = ""
	}
}

// severities maps Red Hat's words, https://access.redhat.com/security/updates/classification/. None is on updates
// that were not made for their security.
var severities = map[string]advisory.Severity{
	"critical":  advisory.Critical,
	"important": advisory.High,
	"moderate":  advisory.Medium,
	"low":       advisory.Low,
	"none":      advisory.Unknown,
	"":          advisory.Unknown, // of vulnerabilities that do not affect the release
}

// namespaces maps a platform: redhat-release, or one of the variants that there were up to 7, such as
// redhat-release-server.
func namespaces(p oval.Platform) []string {
	namespace, ok := distro.Distribution{ID: "rhel", VersionID: p.Version}.Namespace()
	if !ok || !strings.HasPrefix(p.Package, "redhat-release") {
		return nil
	}
	return []string{namespace}
}

// statuses map what Red Hat says of vulnerabilities without a fix, in lower case;
// https://access.redhat.com/articles/red_hat_vulnerability_tutorial.
var statuses = map[string]advisory.Status{
	"affected":             advisory.Affected,
	"fix deferred":         advisory.Deferred,
	"will not fix":         advisory.WillNotFix,
	"out of support scope": advisory.EndOfLife,
	"under investigation":  advisory.UnderInvestigation,
	"new":                  advisory.UnderInvestigation,
	"not affected":         advisory.NotAffected,
}

// resolve gives a package without a fix the status that its resolution has. The resolutions list components by
// their names, those of modules as "nodejs:12/nodejs".
func resolve(d *oval.Definition, p oval.Package, r *advisory.Range) (problem string) {
	if d.Class != "vulnerability" {
		if p.Fixed == "" {
			return "an advisory that tells no fixed version"
		}
		return ""
	}
	if isUnaffected(d) {
		r.Status = advisory.NotAffected
		return ""
	}
	r.Severity = severities[strings.ToLower(d.Severity)]
	for _, name := range []string{r.Name, p.Name} { // as it is called in its module first
		for _, resolution := range d.Resolutions {
			if !slices.Contains(resolution.Components, name) {
				continue
			}
			status, known := statuses[strings.ToLower(resolution.State)]
			if !known {
				return fmt.Sprintf("state %q is not known", resolution.State)
			}
			r.Status = status
			return ""
		}
	}
	return ""
}
