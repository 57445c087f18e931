// Package distro provides the distribution: what release files say, which of them wins, and the
// namespace in which its advisories are published.
//
// Supported distributions are one table (namespace.go), release files another (choose.go), code names a
// third (codename.go). It reads no file itself; it is given their content. It knows nothing of packages.
package distro

import "strings"

// Distribution is an operating system distribution as a release file describes it. It is comparable.
type Distribution struct {
	ID        string `json:"id"`                  // os-release(5) ID, lower case: "debian"
	VersionID string `json:"versionId,omitempty"` // os-release(5) VERSION_ID: "12", "3.20.3"
	Codename  string `json:"codename,omitempty"`  // os-release(5) VERSION_CODENAME, lower case: "bookworm"
	Pretty    string `json:"pretty,omitempty"`    // os-release(5) PRETTY_NAME
	CPE       string `json:"cpe,omitempty"`       // os-release(5) CPE_NAME
}

// IsZero reports whether d is the zero value: not known.
func (d Distribution) IsZero() bool { return d == Distribution{} }

// String returns the distribution as people write it: its pretty name, or else its ID and version.
func (d Distribution) String() string {
	if d.Pretty != "" {
		return d.Pretty
	}
	version := d.VersionID
	if version == "" {
		version = d.Codename
	}
	return strings.TrimSpace(d.ID + " " + version)
}
