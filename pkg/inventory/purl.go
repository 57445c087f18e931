package inventory

import (
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/trawl-scanner/trawl/pkg/distro"
)

// PURL returns the package URL of a package on a distribution,
// https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst.
func PURL(d distro.Distribution, p Package) string {
	qualifiers := map[string]string{"arch": p.Arch}
	version := p.Version
	if p.Kind == RPM {
		if epoch, rest, ok := strings.Cut(version, ":"); ok {
			qualifiers["epoch"], version = epoch, rest
		}
	}
	if d.ID != "" {
		qualifiers["distro"] = strings.TrimSuffix(d.ID+"-"+d.VersionID, "-")
	}
	if p.SourceName != p.Name {
		qualifiers["upstream"] = p.SourceName
		if p.SourceVersion != p.Version {
			qualifiers["upstream"] += "@" + p.SourceVersion
		}
	}
	for k, v := range qualifiers {
		if v == "" {
			delete(qualifiers, k)
		}
	}
	return packageurl.NewPackageURL(string(p.Kind), d.ID, p.Name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}
