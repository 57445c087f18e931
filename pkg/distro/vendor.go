package distro

import (
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// vendorNames maps how a name begins in a vendor's release file to the ID that the same vendor's os-release
// has. The first that fits counts, so longer beginnings come first.
var vendorNames = []struct{ name, id string }{
	{"Red Hat Enterprise Linux", "rhel"},
	{"Red Hat Linux", "redhat"},
	{"CentOS", "centos"}, // CentOS Linux and CentOS Stream share the ID
	{"Fedora", "fedora"},
	{"Oracle Linux", "ol"},
	{"Enterprise Linux Enterprise Linux", "ol"}, // Oracle's up to 5
	{"Rocky Linux", "rocky"},
	{"AlmaLinux", "almalinux"},
	{"Amazon Linux", "amzn"},
	{"Scientific Linux", "scientific"},
	{"VMware Photon", "photon"},
	{"openEuler", "openeuler"},
	{"SUSE Linux Enterprise Server", "sles"},
	{"SUSE Linux Enterprise Desktop", "sled"},
	{"openSUSE Tumbleweed", "opensuse-tumbleweed"},
	{"openSUSE Leap", "opensuse-leap"},
	{"openSUSE", "opensuse"},
}

// ParseRedHatRelease reads etc/redhat-release and what its kin put at etc/centos-release, etc/oracle-release,
// etc/system-release and so on: "CentOS Linux release 7.9.2009 (Core)".
// A vendor that is not in the table gets an ID made of its name. Errors are of kind [fault.Corrupt].
func ParseRedHatRelease(text string) (Distribution, error) {
	line, err := firstLine("redhat-release", text)
	if err != nil {
		return Distribution{}, err
	}
	name, rest, ok := strings.Cut(line, " release ")
	version, codename, _ := strings.Cut(rest, " ")
	if !ok || !startsWithDigit(version) {
		return Distribution{}, noDistribution("redhat-release")
	}
	d := Distribution{ID: vendorID(name), VersionID: version, Pretty: line}
	if d.ID == "" {
		return Distribution{}, noDistribution("redhat-release")
	}
	if strings.HasPrefix(codename, "(") && strings.HasSuffix(codename, ")") {
		d.Codename = strings.ToLower(codename[1 : len(codename)-1])
	}
	return d, nil
}

// ParseSuSERelease reads etc/SuSE-release, which SUSE wrote before it had os-release and dropped in 2018:
// a line with the name, then VERSION and PATCHLEVEL. Errors are of kind [fault.Corrupt].
func ParseSuSERelease(text string) (Distribution, error) {
	line, err := firstLine("SuSE-release", text)
	if err != nil {
		return Distribution{}, err
	}
	var version, patch string
	for l := range strings.Lines(text) {
		name, value, _ := strings.Cut(l, "=")
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "VERSION":
			version = value
		case "PATCHLEVEL":
			patch = value
		}
	}
	d := Distribution{ID: vendorID(line), VersionID: version, Pretty: line}
	if d.ID == "" || !startsWithDigit(version) {
		return Distribution{}, noDistribution("SuSE-release")
	}
	if strings.HasPrefix(d.ID, "sle") && startsWithDigit(patch) && patch != "0" {
		d.VersionID += "." + patch // as VERSION_ID has it: 11.4
	}
	return d, nil
}

// ParseAlpineRelease reads etc/alpine-release, which holds the version alone. Errors are of kind [fault.Corrupt].
func ParseAlpineRelease(text string) (Distribution, error) {
	version, err := firstLine("alpine-release", text)
	if err != nil {
		return Distribution{}, err
	}
	if !startsWithDigit(version) && version != edge || strings.Contains(version, " ") {
		return Distribution{}, noDistribution("alpine-release")
	}
	return Distribution{ID: "alpine", VersionID: version, Pretty: "Alpine Linux " + version}, nil
}

// ParseDebianVersion reads etc/debian_version, which holds a version ("12.5") or, in testing and unstable,
// two code names ("trixie/sid"). Derivatives leave it as Debian wrote it, so it is the weakest of all files.
// Errors are of kind [fault.Corrupt].
func ParseDebianVersion(text string) (Distribution, error) {
	line, err := firstLine("debian_version", text)
	if err != nil {
		return Distribution{}, err
	}
	d := Distribution{ID: "debian", Pretty: "Debian GNU/Linux " + line}
	if startsWithDigit(line) && !strings.Contains(line, " ") {
		d.VersionID = line
		d.Codename, _ = Codename("debian", shortenDebian(line))
		return d, nil
	}
	d.Codename, _, _ = strings.Cut(line, "/")
	if _, known := Version("debian", d.Codename); !known {
		return Distribution{}, noDistribution("debian_version")
	}
	return d, nil
}

// firstLine returns the first line of a release file, without surrounding space.
func firstLine(file, text string) (string, error) {
	if err := checkSize(file, text); err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")), "\n")
	line, err := checkValue(line)
	if err != nil {
		return "", fault.New(fault.Corrupt, "parse", file, err)
	}
	if line == "" {
		return "", noDistribution(file)
	}
	return line, nil
}

func vendorID(name string) string {
	for _, v := range vendorNames {
		if strings.HasPrefix(strings.ToLower(name), strings.ToLower(v.name)) {
			return v.id
		}
	}
	return slug(name)
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }
