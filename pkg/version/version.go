// Package version provides sort keys for package versions: bytes whose plain order is the order
// of the ecosystem.
package version

// Scheme is a rule of how versions are written and ordered.
type Scheme string

// The schemes.
const (
	Dpkg Scheme = "dpkg" // Debian and its kin: deb-version(7)
	RPM  Scheme = "rpm"  // rpm: rpm-version(7)
	APK  Scheme = "apk"  // Alpine and its kin: apk-package(5)
)
