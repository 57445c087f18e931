// Package rocky reads the OVAL definitions of Rocky Linux, https://dl.rockylinux.org/pub/oval/.
//
// A definition is one advisory: RLSA-2022:4582, which is the id of the record. Which vulnerabilities it is about
// stands in its description only; they are taken from there. There is a document for each release; the one for 8
// has at times been a copy of the one for 9, which shows as bad records.
//
// The documents do not tell in which module stream a modular package is. What they say of one is a bad record: under
// its bare name it would be held against the package outside of modules.
package rocky

import (
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Address is where the documents are.
const Address = "https://dl.rockylinux.org/pub/oval/"

// Releases are the releases that have a document.
var Releases = []string{"8", "9"}

// Feed returns the address of the document of a release, and the namespace that it is meant to speak for.
func Feed(release string) (address, namespace string) {
	return Address + "org.rockylinux.rlsa-" + release + ".xml", "rocky:" + release
}

// Parse reads a document; only what is in the namespace counts, unless it is "". See [oval.Rules.Parse].
func Parse(open oval.Opener, namespace string) advisory.Records { return rules.Parse(open, namespace) }

var rules = oval.Rules{
	Subject:    "Rocky OVAL",
	Scorer:     "rocky",
	Severities: severities,
	Namespaces: namespaces,
	Identify: func(d *oval.Definition) (id, link string) {
		reference, _ := d.Reference("RLSA")
		return reference.ID, reference.URL
	},
	Amend: func(d *oval.Definition, r *advisory.Record) { r.Aliases = oval.CVEIDs(d.Description) },
}

// severities maps Rocky's words, which are Red Hat's.
var severities = map[string]advisory.Severity{
	"critical":  advisory.Critical,
	"important": advisory.High,
	"moderate":  advisory.Medium,
	"low":       advisory.Low,
	"none":      advisory.Unknown,
	"unknown":   advisory.Unknown,
}

// namespaces maps a platform, which one package marks.
func namespaces(p oval.Platform) []string {
	namespace, ok := distro.Distribution{ID: "rocky", VersionID: p.Version}.Namespace()
	if !ok || !strings.HasPrefix(p.Package, "rocky-release") {
		return nil
	}
	return []string{namespace}
}
