package distro

// A Parser reads the text of a release file.
type Parser func(text string) (Distribution, error)

// A File is a release file that is known: where it is and what reads it.
type File struct {
	Path  string // in the root file system, without leading slash
	Parse Parser
}

// Files are the release files, those that decide first: [Choose] takes the first that says something.
//
// os-release stands first, and etc over usr/lib, as os-release(5) has it. Then come the files that only their
// vendor writes, before those that its rebuilds and derivatives carry along too: Oracle Linux has
// etc/redhat-release saying "Red Hat Enterprise Linux", Ubuntu has etc/debian_version naming a Debian testing.
var Files = []File{
	{"etc/os-release", ParseOSRelease},
	{"usr/lib/os-release", ParseOSRelease},
	{"etc/oracle-release", ParseRedHatRelease},
	{"etc/enterprise-release", ParseRedHatRelease}, // Oracle's up to 5
	{"etc/rocky-release", ParseRedHatRelease},
	{"etc/almalinux-release", ParseRedHatRelease},
	{"etc/centos-release", ParseRedHatRelease},
	{"etc/fedora-release", ParseRedHatRelease},
	{"etc/redhat-release", ParseRedHatRelease},
	{"etc/system-release", ParseRedHatRelease},
	{"etc/SuSE-release", ParseSuSERelease},
	{"etc/alpine-release", ParseAlpineRelease},
	{"etc/lsb-release", ParseLSBRelease},
	{"etc/debian_version", ParseDebianVersion},
}

// Choose returns what an image's release files say together: the distribution that the first of [Files]
// names, and the path of that file, the evidence. found maps paths to what the file at that path says;
// a path that is not in Files is not looked at. With no evidence the zero Distribution and "" are returned.
func Choose(found map[string]Distribution) (d Distribution, evidence string) {
	for _, f := range Files {
		if d := found[f.Path]; d.ID != "" {
			return d, f.Path
		}
	}
	return Distribution{}, ""
}
