package inventory

import (
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// Release is what advisories talk about: one version of one package in the namespace in which
// advisories for it are published. It is comparable.
type Release struct {
	Namespace string
	Scheme    version.Scheme
	Name      string // of the source package or of the binary package, as the namespace has it
	Version   string
}

// schemes says how the versions of each kind of package are ordered.
var schemes = map[Kind]version.Scheme{Deb: version.Dpkg, RPM: version.RPM, APK: version.APK}

// unknown is the namespace of packages in an image that does not tell its distribution. No source
// covers it.
const unknown = "unknown"

// ReleaseOf returns the release that a package on a distribution is. A package of another kind than the
// distribution's own, such as a deb on Alpine, is a release in a namespace of its own that no source covers.
func ReleaseOf(d distro.Distribution, p Package) Release {
	r := Release{Scheme: schemes[p.Kind]}
	rules, ok := d.Rules()
	switch {
	case ok && rules.Scheme == r.Scheme:
		r.Namespace = rules.Advisories
	case d.IsZero():
		r.Namespace, rules.Naming = unknown+"/"+string(p.Kind), naming(p.Kind)
	default:
		r.Namespace, _ = d.Namespace()
		if ok {
			r.Namespace += "/" + string(p.Kind)
		}
		rules.Naming = naming(p.Kind)
	}
	r.Name, r.Version = p.SourceName, p.SourceVersion
	if rules.Naming == distro.ByBinary {
		r.Name, r.Version = p.Name, p.Version
	}
	return r
}

// naming is how advisories name packages of a kind, where the distribution does not say.
func naming(k Kind) distro.Naming {
	if k == RPM {
		return distro.ByBinary
	}
	return distro.BySource
}

// NamespaceOf returns the namespace in which advisories for a distribution are published, and how versions
// are ordered there. ok is false where the distribution is not known at all.
func NamespaceOf(d distro.Distribution) (name string, scheme version.Scheme, ok bool) {
	if rules, known := d.Rules(); known {
		return rules.Advisories, rules.Scheme, true
	}
	if d.IsZero() {
		return "", "", false
	}
	name, _ = d.Namespace()
	return name, "", true
}
