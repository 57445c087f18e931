package ubuntu

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/updater/oval"
)

// Which source package a set of binary packages is built from, in this order:
//
//  1. what a document of vulnerabilities says of any of them, most often (Sources). If that is a source of another
//     series than one of the binaries is named after (postgresql-12, postgresql-14), the binary's name counts;
//  2. the table below, of sources that are named like none of their binaries;
//  3. not known: all names that the source could have by Debian's customs (libfoo-dev is of libfoo or foo,
//     python3-foo of python-foo or foo). What no source package is called matches nothing. Of 299 sets of which the
//     source is known, 271 are found by these names and the table, and none is taken for another source.
//
// In the documents of focal, bionic and xenial 35 to 38 % of the source packages are named like none of their
// binaries. To match with binary packages instead finds the same in a real image, and would need their names in the
// namespace, and every range once for each.

// Sources maps binary packages to the source packages that they are built from.
type Sources map[string]string

// ReadSources returns what a document of vulnerabilities says. That of an earlier release serves, for few binaries
// move from one source to another.
func ReadSources(open oval.Opener) (Sources, error) {
	out := make(Sources)
	for d, err := range oval.Read(open) {
		if err != nil {
			return nil, err
		}
		for c := range criterions(&d.Criteria) {
			said, about, err := readComment(c.Comment)
			if !about || err != nil || isKernel(said.source) {
				continue
			}
			for _, binary := range c.Test.Names {
				out[binary] = said.source
			}
		}
	}
	return out, nil
}

// isKernel reports whether a source is one of the many that build the kernel: they share binaries.
func isKernel(source string) bool { return source == "linux" || strings.HasPrefix(source, "linux-") }

// of returns the source package of binary packages, or all names that it may have if it is not sure which.
func (s Sources) of(binaries []string) (names []string, sure bool) {
	votes := make(map[string]int)
	for _, binary := range binaries {
		if source, ok := s[binary]; ok {
			votes[source]++
		} else if source, ok := known(binary); ok {
			votes[source]++
		}
	}
	if len(votes) == 0 {
		return guesses(binaries), false
	}
	var best string
	for source, n := range votes {
		if order := cmp.Compare(n, votes[best]); best == "" || order > 0 || (order == 0 && source < best) {
			best = source
		}
	}
	for _, binary := range binaries {
		if binary != best && series(binary) == series(best) && !slices.Contains(binaries, best) {
			return []string{binary}, true
		}
	}
	return []string{best}, true
}

var digits = regexp.MustCompile(`[0-9.]+`)

// series returns a name without the numbers by which versions of a package stand beside each other.
func series(name string) string { return digits.ReplaceAllString(name, "") }

// known returns the source of a binary by the table.
func known(binary string) (source string, ok bool) {
	if source, ok := named[binary]; ok {
		return source, true
	}
	for _, f := range families {
		if m := f.binary.FindStringSubmatchIndex(binary); m != nil {
			return string(f.binary.ExpandString(nil, f.source, binary, m)), true
		}
	}
	return "", false
}

// families are sources whose names are made from those of their binaries.
var families = []struct {
	binary *regexp.Regexp
	source string
}{
	{regexp.MustCompile(`^openjdk-11-`), "openjdk-lts"},
	{regexp.MustCompile(`^(openjdk-\d+)-jre`), "$1"},
	{regexp.MustCompile(`^(php\d\.\d)-`), "$1"},
	{regexp.MustCompile(`^mysql-client-core-(\d\.\d)$`), "mysql-$1"},
	{regexp.MustCompile(`^(postgresql-\d+)$`), "$1"},
	{regexp.MustCompile(`^(python\d\.\d+)-minimal$`), "$1"},
	{regexp.MustCompile(`^(ruby\d\.\d)$`), "$1"},
	{regexp.MustCompile(`^mariadb-server-(\d+\.\d+)$`), "mariadb-$1"},
	{regexp.MustCompile(`^(gcc-\d+)-base$`), "$1"},
	{regexp.MustCompile(`^libicu\d+$`), "icu"},
}

// named are the binaries by which sources can be told that are named like none of theirs: those that images have.
var named = map[string]string{
	"apt-utils":                "apt",
	"auditd":                   "audit",
	"cups-browsed":             "cups-filters",
	"e2fslibs":                 "e2fsprogs",
	"gnupg":                    "gnupg2",
	"gnutls-bin":               "gnutls28",
	"gir1.2-gdkpixbuf-2.0":     "gdk-pixbuf",
	"gstreamer1.0-plugins-bad": "gst-plugins-bad1.0", "gstreamer1.0-plugins-base": "gst-plugins-base1.0",
	"gstreamer1.0-plugins-good": "gst-plugins-good1.0", "gstreamer1.0-plugins-ugly": "gst-plugins-ugly1.0",
	"krb5-user":          "krb5",
	"libaprutil1":        "apr-util",
	"libarchive13":       "libarchive",
	"libaudit1":          "audit",
	"libc-bin":           "glibc",
	"libcairo2":          "cairo",
	"libdb5.3":           "db5.3",
	"libfreetype6":       "freetype",
	"libgail-common":     "gtk+2.0",
	"libgd3":             "libgd2",
	"libglib2.0-bin":     "glib2.0",
	"libgmp10":           "gmp",
	"libharfbuzz0b":      "harfbuzz",
	"libidn11":           "libidn",
	"libjpeg-turbo8":     "libjpeg-turbo",
	"libldap-common":     "openldap",
	"libopenjp2-7":       "openjpeg2",
	"libpam-modules":     "pam",
	"libpcap0.8":         "libpcap",
	"libpcre3":           "pcre3",
	"libpng16-16":        "libpng1.6",
	"libsasl2-2":         "cyrus-sasl2",
	"libsnmp-base":       "net-snmp",
	"libsystemd0":        "systemd",
	"libtiff-tools":      "tiff",
	"libx11-6":           "libx11",
	"libxslt1.1":         "libxslt",
	"ncurses-base":       "ncurses",
	"nettle-bin":         "nettle",
	"openssh-client":     "openssh",
	"passwd":             "shadow",
	"python3-jinja2":     "jinja2",
	"python3-jwt":        "pyjwt",
	"python3-pil":        "pillow",
	"python3-setuptools": "setuptools",
	"slapd":              "openldap",
	"webp":               "libwebp",
	"wpasupplicant":      "wpa",
	"xserver-common":     "xorg-server",
	"zlib1g":             "zlib",
	"zstd":               "libzstd",
}

var (
	libraryNumber = regexp.MustCompile(`-?\d[\d.]*[a-z]?(-\d+)?(v\d)?(t64)?$`)
	parts         = []string{"-dev", "-bin", "-common", "-utils", "-tools", "-data", "-core", "-server", "-client"}
)

// guesses returns the names that the source of binary packages may have.
func guesses(binaries []string) []string {
	seen := make(map[string]bool)
	for _, binary := range binaries {
		for _, name := range stems(binary) {
			seen[name] = true
		}
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// stems returns a name, and what is left of it without what binary packages add to that of their source.
func stems(binary string) []string {
	out := []string{binary}
	add := func(name string, ok bool) {
		if ok && len(name) > 2 && name != binary {
			out = append(out, name)
		}
	}
	for _, part := range parts {
		add(strings.CutSuffix(binary, part))
	}
	if strings.HasPrefix(binary, "lib") {
		add(libraryNumber.ReplaceAllString(binary, ""), true)
	}
	for _, prefix := range []string{"python3-", "python-"} {
		if name, ok := strings.CutPrefix(binary, prefix); ok {
			add("python-"+name, true)
			add(name, true)
		}
	}
	for _, name := range out[1:] {
		add(strings.CutPrefix(name, "lib"))
	}
	return out
}
