package osv

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// ecosystem says how the packages of an ecosystem are named and their versions ordered.
type ecosystem struct {
	name      string // as OSV writes it: "PyPI"
	namespace string // for a language; "" for a distribution, where the release decides
	scheme    version.Scheme
	fold      func(string) string // returns the one form of a package's name
	distro    string              // os-release ID, for a distribution
}

// ecosystems is the table of what is read, https://ossf.github.io/osv-schema/#defined-ecosystems. One more is one
// more line.
var ecosystems = map[string]ecosystem{
	"AlmaLinux": {"AlmaLinux", "", version.RPM, exact, "almalinux"},
	"Go":        {"Go", "go", version.Go, exact, ""},
	"Maven":     {"Maven", "maven", version.Maven, exact, ""}, // "group:artifact"
	"NuGet":     {"NuGet", "nuget", version.NuGet, strings.ToLower, ""},
	"Packagist": {"Packagist", "packagist", version.Packagist, strings.ToLower, ""},
	"PyPI":      {"PyPI", "pypi", version.PyPI, foldPyPI, ""},
	"RubyGems":  {"RubyGems", "rubygems", version.RubyGems, exact, ""},
	"crates.io": {"crates.io", "crates.io", version.Semver, exact, ""},
	"npm":       {"npm", "npm", version.NPM, exact, ""}, // upper case is kept: old packages differ by it
}

// Ecosystems returns the ecosystems that are read, as OSV writes them, sorted.
func Ecosystems() []string { return slices.Sorted(maps.Keys(ecosystems)) }

// Namespaces returns the pattern of the namespaces that the export of an ecosystem speaks for, see
// [advisory.Source.Covers].
func Namespaces(name string) string {
	e := ecosystems[name]
	if e.distro != "" {
		return e.distro + ":*"
	}
	return e.namespace
}

func exact(name string) string { return name }

var separators = regexp.MustCompile(`[-_.]+`)

// foldPyPI returns the normalized name,
// https://packaging.python.org/en/latest/specifications/name-normalization/ (PEP 503).
func foldPyPI(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// resolve returns the namespace that an ecosystem in a document stands for: "PyPI", "AlmaLinux:9". mine is false for
// one that this export does not speak for, known is false for a release that is not known.
func (e ecosystem) resolve(written string) (namespace string, mine, known bool) {
	name, release, _ := strings.Cut(written, ":")
	if name != e.name {
		return "", false, false
	}
	if e.distro == "" {
		return e.namespace, true, true
	}
	namespace, known = distro.Distribution{ID: e.distro, VersionID: release}.Namespace()
	return namespace, true, known
}
