// Package photon reads the OVAL definitions of Photon OS,
// https://packages.vmware.com/photon/photon_oval_definitions/.
//
// A definition is one update of one source package. The id of the record is the one in its title,
// PHSA-2020:00001: the bulletin that its reference leads to (PHSA-2019-3.0-0036) is about several packages, each with
// vulnerabilities of its own. There is a document for each release.
//
// It knows no unfixed vulnerabilities, for the documents have none.
package photon

import (
	"regexp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Address is where the documents are.
const Address = "https://packages.vmware.com/photon/photon_oval_definitions/"

// Releases are the releases that have a document.
var Releases = []string{"1", "2", "3", "4", "5"}

// Feed returns the address of the document of a release, and the namespace that it speaks for.
func Feed(release string) (address, namespace string) {
	return Address + "com.vmware.phsa-photon" + release + ".xml", "photon:" + release
}

// Parse reads a document; only what is in the namespace counts, unless it is "". See [oval.Rules.Parse].
func Parse(open oval.Opener, namespace string) advisory.Records { return rules.Parse(open, namespace) }

var rules = oval.Rules{
	Subject:    "Photon OVAL",
	Scorer:     "photon",
	Severities: severities,
	Namespaces: namespaces,
	Identify: func(d *oval.Definition) (id, link string) {
		reference, _ := d.Reference("PHSA")
		return bulletin.FindString(d.Title), reference.URL
	},
}

var bulletin = regexp.MustCompile(`^PHSA-[0-9A-Za-z.:-]*[0-9A-Za-z]`)

// severities maps Photon's words.
var severities = map[string]advisory.Severity{
	"critical":  advisory.Critical,
	"important": advisory.High,
	"high":      advisory.High,
	"moderate":  advisory.Medium,
	"medium":    advisory.Medium,
	"low":       advisory.Low,
}

// namespaces maps a platform, which one package marks.
func namespaces(p oval.Platform) []string {
	namespace, ok := distro.Distribution{ID: "photon", VersionID: p.Version}.Namespace()
	if !ok || p.Package != "photon-release" {
		return nil
	}
	return []string{namespace}
}
