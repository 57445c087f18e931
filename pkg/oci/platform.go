package oci

import (
	"fmt"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Platform is what an image runs on, in the words of Go's GOOS and GOARCH (image-spec v1.1,
// image-index.md, "platform"). It is comparable. The zero value is not known.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`    // of the CPU: "v7"
	OSVersion    string `json:"os.version,omitempty"` // Windows has one
}

// IsZero reports whether nothing is known of the platform.
func (p Platform) IsZero() bool { return p == Platform{} }

// String returns "linux/arm/v7", or "" for the zero value. The version of the operating system is left
// out.
func (p Platform) String() string {
	if p.OS == "" && p.Architecture == "" {
		return ""
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads "OS/ARCH", "OS/ARCH/VARIANT" or "ARCH", which is taken for Linux's. Other names
// of architectures, such as those of uname, become Go's. Errors have kind [fault.Invalid].
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	for _, part := range parts {
		if part == "" || len(part) > 64 || strings.ContainsFunc(part, func(r rune) bool { return !isPlatformRune(r) }) {
			return Platform{}, fault.Newf(fault.Invalid, "parse platform", fmt.Sprintf("%.100q", s), "want OS/ARCH or OS/ARCH/VARIANT")
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	switch len(parts) {
	case 2:
	case 3:
		p.Variant = parts[2]
	default:
		return Platform{}, fault.Newf(fault.Invalid, "parse platform", fmt.Sprintf("%.100q", s), "want OS/ARCH or OS/ARCH/VARIANT")
	}
	return p.normal(), nil
}

func isPlatformRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.'
}

// architectures maps other names to Go's: those of uname(1), Debian, containerd and App Container.
var architectures = map[string]struct{ architecture, variant string }{
	"x86_64":  {"amd64", ""},
	"x86-64":  {"amd64", ""},
	"i386":    {"386", ""},
	"i686":    {"386", ""},
	"aarch64": {"arm64", ""},
	"armhf":   {"arm", "v7"},
	"armv7l":  {"arm", "v7"},
	"armel":   {"arm", "v6"},
	"armv6l":  {"arm", "v6"},
	"ppc64el": {"ppc64le", ""},
}

// normal returns p with names as Go has them, and without the variant that is the only one.
func (p Platform) normal() Platform {
	if a, ok := architectures[p.Architecture]; ok {
		p.Architecture = a.architecture
		if p.Variant == "" {
			p.Variant = a.variant
		}
	}
	switch {
	case p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		p.Variant = ""
	case p.Architecture == "arm" && len(p.Variant) == 1:
		p.Variant = "v" + p.Variant
	}
	return p
}

// Selection says which platforms are wanted. Empty, it wants all.
type Selection []Platform

// Wants reports whether an image of platform p is wanted. What the selection leaves open, such as a
// variant, may be anything; a platform that is not known is wanted, for it may be the one.
func (s Selection) Wants(p Platform) bool {
	if len(s) == 0 || p.OS == "" || p.Architecture == "" {
		return true
	}
	p = p.normal()
	for _, want := range s {
		want = want.normal()
		if want.OS == p.OS && want.Architecture == p.Architecture &&
			(want.Variant == "" || want.Variant == p.Variant) &&
			(want.OSVersion == "" || want.OSVersion == p.OSVersion) {
			return true
		}
	}
	return false
}

func (s Selection) String() string {
	names := make([]string, len(s))
	for i, p := range s {
		names[i] = p.String()
	}
	return strings.Join(names, ", ")
}
