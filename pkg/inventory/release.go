package inventory

import (
	"strings"

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
//
// An rpm that is in a module has the name "MODULE:STREAM/NAME", such as "nodejs:18/nodejs": advisories are about
// packages of one stream, and the versions of two have nothing to do with each other. In front of it stands the
// variant where a distribution has several builds of a package, see [variants].
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
		r.Name, r.Version = variant(r.Namespace, p)+stream(p)+p.Name, p.Version
	}
	return r
}

// sourcesToo are the families of namespaces that go by binary packages and in which some advisories name the source
// package all the same: Red Hat's do for what has no fix yet.
var sourcesToo = map[string]bool{"rhel": true}

// SourceReleaseOf returns the release that a package's source package is, where advisories may name that beside the
// package itself. Its name ends in [SourceSuffix].
func SourceReleaseOf(d distro.Distribution, p Package) (Release, bool) {
	r := ReleaseOf(d, p)
	family, _, _ := strings.Cut(r.Namespace, ":")
	if !sourcesToo[family] || p.Kind != RPM {
		return Release{}, false
	}
	r.Name, r.Version = stream(p)+p.SourceName+SourceSuffix, WithoutEpoch(p.SourceVersion)
	return r, true
}

// WithoutEpoch returns an rpm's version without its epoch. The database of installed packages names a source package by
// the name of its file, which has none, so that versions of source packages are compared without.
func WithoutEpoch(version string) string {
	if epoch, rest, ok := strings.Cut(version, ":"); ok && strings.Trim(epoch, "0123456789") == "" {
		return rest
	}
	return version
}

// SourceSuffix ends the name of a release that is a source package in a namespace that goes by binary packages. Ranges
// about source packages are named alike.
const SourceSuffix = ".src"

// stream returns "MODULE:STREAM/" for a package in a module, else "". A modularity label is
// "NAME:STREAM:VERSION:CONTEXT", https://docs.fedoraproject.org/en-US/modularity/.
func stream(p Package) string {
	if p.Module == "" {
		return ""
	}
	parts := strings.SplitN(p.Module, ":", 3)
	return strings.Join(parts[:min(2, len(parts))], ":") + "/"
}

// variants are the builds of packages that stand beside the usual ones: the word by which their versions can be
// told, which also is what their names begin with. They have epochs of their own, and advisories of their own.
//
// Oracle has builds that Ksplice can patch while they run (2:1.1.1g-15.ksplice1.el8), and ones that are validated
// for FIPS 140 (10:3.6.16-4.0.1.el8_fips).
var variants = map[string][]string{"oracle": {"ksplice", "fips"}}

// variant returns "VARIANT/" for a package of such a build, else "".
func variant(namespace string, p Package) string {
	family, _, _ := strings.Cut(namespace, ":")
	for _, word := range variants[family] {
		if strings.Contains(p.Version, word) {
			return word + "/"
		}
	}
	return ""
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
