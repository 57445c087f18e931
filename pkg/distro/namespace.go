package distro

import (
	"strings"

	"github.com/trawl-scanner/trawl/pkg/version"
)

// Naming says what the package names in advisories are.
type Naming uint8

// The two ways to name what is vulnerable.
const (
	BySource Naming = iota + 1 // the source package: all binary packages built from it are meant
	ByBinary                   // the installed package itself
)

// Rules says how the advisories of a distribution are to be applied to its packages.
type Rules struct {
	Scheme version.Scheme // of its package versions
	Naming Naming
	// Advisories is the namespace in which the advisories for it are published. It is the distribution's own,
	// but for a rebuild that publishes none: CentOS Linux has Red Hat's packages in Red Hat's versions.
	Advisories string
}

// edge is what Alpine calls its rolling branch.
const edge = "edge"

// families is the table of the distributions known by name. To know another one is a line here.
var families = []struct {
	id         string // os-release ID
	name       string // in the namespace
	shorten    func(Distribution) string
	scheme     version.Scheme
	naming     Naming
	advisories string // name in the namespace of the advisories, where it is another one
}{
	{"debian", "debian", debianVersion, version.Dpkg, BySource, ""},
	{"ubuntu", "ubuntu", ubuntuVersion, version.Dpkg, BySource, ""},
	{"alpine", "alpine", alpineVersion, version.APK, BySource, ""},
	{"wolfi", "wolfi", rolling, version.APK, BySource, ""},
	{"chainguard", "chainguard", rolling, version.APK, BySource, ""},
	{"rhel", "rhel", major, version.RPM, ByBinary, ""},
	{"centos", "centos", major, version.RPM, ByBinary, "rhel"},
	{"rocky", "rocky", major, version.RPM, ByBinary, ""},
	{"almalinux", "almalinux", major, version.RPM, ByBinary, ""},
	{"ol", "oracle", major, version.RPM, ByBinary, ""},
	{"amzn", "amzn", amazonVersion, version.RPM, ByBinary, ""},
	{"fedora", "fedora", major, version.RPM, ByBinary, ""},
	{"sles", "sles", full, version.RPM, ByBinary, ""},
	{"sled", "sled", full, version.RPM, ByBinary, ""},
	{"opensuse", "opensuse", full, version.RPM, ByBinary, ""}, // up to 42.3
	{"opensuse-leap", "opensuse-leap", full, version.RPM, ByBinary, ""},
	{"opensuse-tumbleweed", "opensuse-tumbleweed", rolling, version.RPM, ByBinary, ""},
	{"photon", "photon", major, version.RPM, ByBinary, ""},
	{"mariner", "mariner", major, version.RPM, BySource, ""},
	{"azurelinux", "azurelinux", major, version.RPM, BySource, ""},
}

// Namespace returns the namespace of the distribution's packages: "debian:12", "alpine:3.20", "rhel:9".
// A rolling distribution has its name alone: "wolfi".
//
// ok reports whether the distribution is in the table and its version makes sense. If not, the namespace is
// ID and version as the release file has them, such as "raspbian:11": nobody publishes advisories there,
// and it is never taken for a distribution that it resembles. The zero Distribution has the namespace "".
func (d Distribution) Namespace() (ns string, ok bool) {
	for _, f := range families {
		if f.id == d.ID {
			if short, ok := join(f.name, f.shorten(d)); ok {
				return short, true
			}
		}
	}
	return strings.TrimSuffix(d.ID+":"+d.VersionID, ":"), false
}

// Rules returns how advisories apply to the distribution. ok is as in [Distribution.Namespace]; without it
// the rules are zero.
func (d Distribution) Rules() (r Rules, ok bool) {
	ns, ok := d.Namespace()
	if !ok {
		return Rules{}, false
	}
	for _, f := range families {
		if f.id == d.ID {
			r = Rules{Scheme: f.scheme, Naming: f.naming, Advisories: ns}
			if f.advisories != "" {
				r.Advisories, _ = join(f.advisories, f.shorten(d))
			}
		}
	}
	return r, true
}

// unknownVersion is what a shorten function returns for a version that it makes no sense of.
const unknownVersion = "?"

func join(name, version string) (ns string, ok bool) {
	switch version {
	case unknownVersion:
		return "", false
	case "":
		return name, true
	}
	return name + ":" + version, true
}

// rolling is for distributions that have one set of packages for all time.
func rolling(Distribution) string { return "" }

// full keeps the version as it is: "15.5".
func full(d Distribution) string {
	if !startsWithDigit(d.VersionID) {
		return unknownVersion
	}
	return d.VersionID
}

// major keeps what is before the first dot: "9.2" is "9".
func major(d Distribution) string {
	v, _, _ := strings.Cut(full(d), ".")
	return v
}

// debianVersion is the major version. Testing and unstable have no version; their code name tells, and since
// both call themselves "trixie/sid", unstable counts as the testing of its time.
func debianVersion(d Distribution) string {
	if startsWithDigit(d.VersionID) {
		return shortenDebian(d.VersionID)
	}
	if v, known := Version("debian", d.Codename); known {
		return v
	}
	return unknownVersion
}

// shortenDebian drops the point release: up to 3.1 a version has two parts, since then one.
func shortenDebian(v string) string {
	parts := strings.SplitN(v, ".", 3)
	if len(parts) > 1 && len(parts[0]) == 1 && parts[0] <= "3" {
		return parts[0] + "." + parts[1]
	}
	return parts[0]
}

// ubuntuVersion is year and month: "22.04".
func ubuntuVersion(d Distribution) string {
	parts := strings.SplitN(d.VersionID, ".", 3)
	if len(parts) > 1 && startsWithDigit(d.VersionID) {
		return parts[0] + "." + parts[1]
	}
	if v, known := Version("ubuntu", d.Codename); known {
		return v
	}
	return unknownVersion
}

// alpineVersion is the branch: "3.20.3" is "3.20". What is to become 3.21, "3.21.0_alpha20240807", is edge.
func alpineVersion(d Distribution) string {
	if d.VersionID == edge || strings.Contains(d.VersionID, "_alpha") || strings.HasSuffix(d.Pretty, " "+edge) {
		return edge
	}
	parts := strings.SplitN(d.VersionID, ".", 3)
	if len(parts) < 2 || !startsWithDigit(d.VersionID) {
		return unknownVersion
	}
	minor, _, _ := strings.Cut(parts[1], "_") // "3.20_rc1"
	return parts[0] + "." + minor
}

// amazonVersion is "2", "2023" and so on; what was named by year and month, last "2018.03", is all of Amazon
// Linux 1, which had one stream of updates.
func amazonVersion(d Distribution) string {
	year, month, _ := strings.Cut(full(d), ".")
	if len(year) == 4 && year < "2019" && len(month) == 2 {
		return "1"
	}
	return year
}
