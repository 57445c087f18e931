// Package suse reads the OVAL definitions of SUSE Linux Enterprise Server and openSUSE,
// https://ftp.suse.com/pub/projects/security/oval/.
//
// # Format
//
// There are three documents for each product. In "…-affected.xml.gz" a definition is one vulnerability, fixed or not:
// the id of the record is CVE-…. In "….xml.gz" the same without those that are not fixed. In "…-patch.xml.gz" it is
// one update: SUSE-SU-2021:1210-1, or openSUSE-SU-…, whose vulnerabilities are its aliases. Of one product only one
// is to be read, the first saying the most.
//
// A definition lists packages under the products they are in. What is said of a product counts for the distribution
// that the product is a part of, whether or not an image has the package that marks it: packages of modules are
// installed in images without any sign of the module.
package suse

import (
	"path"
	"regexp"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Address is where the documents are.
const Address = "https://ftp.suse.com/pub/projects/security/oval/"

// Products are those whose documents are of use, as they stand in the names of the documents.
var Products = []string{
	"suse.linux.enterprise.server.11", "suse.linux.enterprise.server.12", "suse.linux.enterprise.server.15",
	"suse.linux.enterprise.server.16", "opensuse.leap.15.3", "opensuse.leap.15.4", "opensuse.leap.15.5",
	"opensuse.leap.15.6", "opensuse.leap.16.0", "opensuse.tumbleweed",
}

// Feed returns the address of the document of a product that says the most. Which namespaces it speaks for, it tells
// itself: that of a server lists all its service packs.
func Feed(product string) (address string) { return Address + product + "-affected.xml.gz" }

// Parse reads a document; only what is in the namespace counts, unless it is "". See [oval.Rules.Parse].
func Parse(open oval.Opener, namespace string) advisory.Records { return rules.Parse(open, namespace) }

var rules = oval.Rules{
	Subject:    "SUSE OVAL",
	Scorer:     "suse",
	Severities: severities,
	Namespaces: namespaces,
	Identify:   identify,
}

var update = regexp.MustCompile(`^(?:open)?SUSE-[A-Z]{2}-\d{4}:\d+-\d+`)

// identify returns the id and the address of what a definition is about.
func identify(d *oval.Definition) (id, link string) {
	id = update.FindString(d.Title)
	if d.Class == "vulnerability" {
		if ids := oval.CVEIDs(d.Title); len(ids) > 0 {
			id = ids[0]
		}
	}
	for _, r := range d.References {
		if strings.TrimPrefix(r.ID, "SUSE ") == id && (link == "" || strings.HasPrefix(r.Source, "SUSE")) {
			link = r.URL
		}
	}
	return id, link
}

// severities maps SUSE's words, https://www.suse.com/support/security/rating/.
var severities = map[string]advisory.Severity{
	"critical":  advisory.Critical,
	"important": advisory.High,
	"high":      advisory.High,
	"moderate":  advisory.Medium,
	"medium":    advisory.Medium,
	"low":       advisory.Low,
	"not set":   advisory.Unknown,
	"none":      advisory.Unknown,
	"n/a":       advisory.Unknown,
	"":          advisory.Unknown,
}

// products map the packages that mark a product to the distribution it is a part of. The names are patterns of
// [path.Match], the first that fits counts; "" is for products that no image is known to be of. SUSE Linux Enterprise
// Desktop is among them: what is in it beside the modules would be taken for all of it.
var products = []struct{ mark, id string }{
	{"*[Mm]icro*", ""},
	{"sled-release", ""},
	{"sles-release", "sles"},
	{"sles-*-release", "sles"}, // long-term support and the like
	{"SLES*-release", "sles"},
	{"SUSE_SLES*-release", "sles"},
	{"SLE_HPC*-release", "sles"},
	{"sle-*-release", "sles"}, // modules and extensions
	{"openSUSE-release", "opensuse-leap"},
	{"Leap-release", "opensuse-leap"},
}

// The openSUSE before the first of the present numbers, and the first date that is the version of a Tumbleweed.
const (
	firstLeap       = "15"
	tumbleweedDigit = 8
)

// namespaces maps a platform.
func namespaces(p oval.Platform) []string {
	for _, product := range products {
		if ok, _ := path.Match(product.mark, p.Package); !ok {
			continue
		}
		d := distro.Distribution{ID: product.id, VersionID: p.Version}
		if d.ID == "opensuse-leap" {
			d.ID = openSUSE(p.Version)
		}
		if namespace, ok := d.Namespace(); ok {
			return []string{namespace}
		}
		return nil
	}
	return nil
}

// openSUSE returns what os-release calls the openSUSE of a version: the numbers went from 13.2 to 42.1, and from 42.3
// to 15.0.
func openSUSE(version string) (id string) {
	switch major, _, _ := strings.Cut(version, "."); {
	case len(major) == tumbleweedDigit:
		return "opensuse-tumbleweed"
	case major >= firstLeap && major < "42":
		return "opensuse-leap"
	}
	return "opensuse"
}
