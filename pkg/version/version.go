package version

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// KeyFormat is the version of the format of keys, which the package comment describes. It is raised
// when the key of any version changes; stored keys of another format have to be made anew from
// their versions. A new scheme does not raise it.
const KeyFormat = 1

// MaxLength is the length, in bytes, up to which a version is read. The longest among 55,000 versions
// of Debian, Ubuntu, Alpine, Red Hat, Oracle, Rocky, AlmaLinux, Go and PyPI has 62. The bound keeps every
// key well below the 2,704 bytes that a B-tree index of Postgres takes.
const MaxLength = 1024

// Scheme is a rule of how versions are written and ordered. It is stored and sent by its text.
type Scheme string

// The schemes. One more is one more line here, in [Schemes] and in appendScheme, and a file.
const (
	Dpkg      Scheme = "dpkg"      // Debian and its kin: deb-version(7)
	RPM       Scheme = "rpm"       // rpm: rpm-version(7)
	APK       Scheme = "apk"       // Alpine and its kin: apk-package(5)
	Semver    Scheme = "semver"    // crates.io and others: semver.org
	NPM       Scheme = "npm"       // npm: node-semver
	Go        Scheme = "go"        // Go modules and the Go toolchain: go.dev/ref/mod#versions
	PyPI      Scheme = "pypi"      // Python packages: the version specifiers specification, PEP 440
	Maven     Scheme = "maven"     // Maven artifacts: its version order specification
	RubyGems  Scheme = "rubygems"  // Ruby gems: Gem::Version
	NuGet     Scheme = "nuget"     // NuGet packages: NuGetVersion
	Packagist Scheme = "packagist" // Composer packages: composer/semver
)

// ErrScheme is wrapped by the error, of kind [fault.Unsupported], for a scheme that is not in [Schemes].
var ErrScheme = errors.New("no such version scheme")

// Schemes returns the schemes for which keys can be made.
func Schemes() []Scheme {
	return []Scheme{Dpkg, RPM, APK, Semver, NPM, Go, PyPI, Maven, RubyGems, NuGet, Packagist}
}

// Key returns the key of a version. The error is a [*ParseError] when s is not a version of the
// scheme, and wraps [ErrScheme] when there is no such scheme.
func Key(scheme Scheme, s string) ([]byte, error) {
	key, err := AppendKey(make([]byte, 0, min(len(s), MaxLength)+8), scheme, s)
	if err != nil {
		return nil, err
	}
	return key, nil
}

// AppendKey appends the key of a version to dst and returns the longer slice. It allocates nothing
// where dst has room. Errors are those of [Key], and with them dst comes back as it was.
func AppendKey(dst []byte, scheme Scheme, s string) ([]byte, error) {
	if len(s) > MaxLength {
		return dst, reject(scheme, s, MaxLength, "longer than "+strconv.Itoa(MaxLength)+" bytes")
	}
	start, end := 0, len(s)
	if ignoresSpace(scheme) {
		start, end = trimSpace(s)
	}
	key, err := appendScheme(dst, scheme, s[start:end])
	if err != nil {
		return dst, within(err, s, start)
	}
	return key, nil
}

// ignoresSpace reports whether the tool of a scheme ignores white space around a version.
func ignoresSpace(scheme Scheme) bool {
	switch scheme {
	case Dpkg, NPM, PyPI, RubyGems, NuGet, Packagist:
		return true
	}
	return false
}

// appendScheme appends the key of a version without white space around it.
func appendScheme(dst []byte, scheme Scheme, s string) ([]byte, error) {
	switch scheme {
	case Dpkg:
		return appendDpkg(dst, s)
	case RPM:
		return appendRPM(dst, s)
	case APK:
		return appendAPK(dst, s)
	case Semver:
		return appendSemver(dst, s)
	case NPM:
		return appendNPM(dst, s)
	case Go:
		return appendGo(dst, s)
	case PyPI:
		return appendPyPI(dst, s)
	case Maven:
		return appendMaven(dst, s)
	case RubyGems:
		return appendRubyGems(dst, s)
	case NuGet:
		return appendNuGet(dst, s)
	case Packagist:
		return appendPackagist(dst, s)
	}
	return dst, fault.New(fault.Unsupported, "order versions by", strconv.Quote(string(scheme)), ErrScheme)
}

// Compare returns -1, 0 or +1 as version a is before, equal to or after b in the order of the
// ecosystem. Errors are those of [Key], for a first.
func Compare(scheme Scheme, a, b string) (int, error) {
	var roomA, roomB [128]byte // on the stack; enough for any usual version
	keyA, err := AppendKey(roomA[:0], scheme, a)
	if err != nil {
		return 0, err
	}
	keyB, err := AppendKey(roomB[:0], scheme, b)
	if err != nil {
		return 0, err
	}
	return bytes.Compare(keyA, keyB), nil
}
