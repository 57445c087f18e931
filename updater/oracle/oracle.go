// Package oracle reads the OVAL definitions of Oracle Linux, https://linux.oracle.com/security/oval/.
//
// A definition is one advisory: ELSA-2023-0005, which is the id of the record, and whose vulnerabilities are its
// aliases. There is a document for each release, each year, and all of time; the ones for releases have everything
// that the others have.
//
// It knows no unfixed vulnerabilities, for Oracle publishes none.
package oracle

import (
	"fmt"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Address is where the documents are.
const Address = "https://linux.oracle.com/security/oval/"

// Releases are the releases that have a document. The first that did is 5.
var Releases = []string{"5", "6", "7", "8", "9", "10"}

// Feed returns the address of the document of a release, and the namespace that it speaks for.
func Feed(release string) (address, namespace string) {
	return Address + "com.oracle.elsa-ol" + release + ".xml.bz2", "oracle:" + release
}

// firstYear is the first year that has a document.
const firstYear = 2007

// Years returns the addresses of the documents of single years, up to a year. They speak for all releases.
func Years(last int) []string {
	var addresses []string
	for year := firstYear; year <= last; year++ {
		addresses = append(addresses, fmt.Sprintf("%scom.oracle.elsa-%d.xml.bz2", Address, year))
	}
	return addresses
}

// Parse reads a document; only what is in the namespace counts, unless it is "". See [oval.Rules.Parse].
func Parse(open oval.Opener, namespace string) advisory.Records { return rules.Parse(open, namespace) }

var rules = oval.Rules{
	Subject:    "Oracle OVAL",
	Scorer:     "oracle",
	Severities: severities,
	Namespaces: namespaces,
	Identify: func(d *oval.Definition) (id, link string) {
		reference, _ := d.Reference("elsa")
		return reference.ID, reference.URL
	},
	Refine: variant,
}

// severities maps Oracle's words. N/A stands on updates that nobody rated.
var severities = map[string]advisory.Severity{
	"critical":  advisory.Critical,
	"important": advisory.High,
	"moderate":  advisory.Medium,
	"low":       advisory.Low,
	"n/a":       advisory.Unknown,
}

// namespaces maps a platform. Every release is marked by one package, which up to 5 had another name.
func namespaces(p oval.Platform) []string {
	if p.Package != "oraclelinux-release" && p.Package != "enterprise-release" {
		return nil
	}
	namespace, ok := distro.Distribution{ID: "ol", VersionID: p.Version}.Namespace()
	if !ok {
		return nil
	}
	return []string{namespace}
}

// variant names the builds of a package that stand beside the usual one, and have higher epochs: those that Ksplice
// can patch, and those validated for FIPS 140. An installed package goes by the same names, see package inventory.
func variant(_ *oval.Definition, p oval.Package, r *advisory.Range) (problem string) {
	switch {
	case p.Variant == "":
	case strings.Contains(p.Variant, "ksplice"), strings.Contains(p.Variant, "fips"):
		r.Name = p.Variant + "/" + r.Name
	default:
		return "builds of release " + p.Variant + " are not known"
	}
	return ""
}
