package version

import "strings"

// Versions of Go modules and of the Go toolchain.
//
// The order is that of golang.org/x/mod/semver, by which the go command selects modules, and so that of
// semver.go. A pseudo-version (v0.0.0-20191109021931-daa7c04131f5) is a pre-release like any other, and
// v2.0.0+incompatible has a build, which makes no difference.
//
// A version is valid when semver.IsValid says so, which also takes v1 and v1.2 for v1.0.0 and v1.2.0.
// The "v" may be left out, as the Go vulnerability database does.
//
// A version of the toolchain begins with "go", as in build information; one of the database does not,
// and one order holds for both: go1.21.3 = 1.21.3, go1.21rc2 = 1.21.0-rc.2, go1.20 = 1.20.0, as the
// database itself has it (golang.org/x/vuln). It is valid when go/version.IsValid says so, and what
// follows a hyphen (go1.21.3-vendor) makes no difference, as there. go1.21 and above, without a patch
// number, name to go/version a language that comes before its first release candidate; no toolchain is
// called that, and here it is the release, go1.21.0. What a toolchain says after its version, such as
// " X:boringcrypto", is not part of it and for the caller to cut off.
//
// "(devel)", "devel go1.22-3b3d6f1" and other names of what was never released are no versions.

func appendGo(dst []byte, s string) ([]byte, error) {
	if strings.HasPrefix(s, "go") {
		return appendToolchain(dst, s)
	}
	i := 0
	if s != "" && s[0] == 'v' {
		i++
	}
	dst, i, err := appendTriple(dst, Go, s, i)
	if err != nil {
		return dst, err
	}
	if i < len(s) && s[i] == '-' {
		return appendPrerelease(dst, Go, s, i+1)
	}
	return appendRelease(dst, Go, s, i)
}

// appendToolchain appends a version that begins with "go": go1, go1.2, go1.2.3 or go1.2rc3.
func appendToolchain(dst []byte, s string) ([]byte, error) {
	end := len(s)
	if hyphen := strings.IndexByte(s, '-'); hyphen >= 0 {
		end = hyphen
	}
	i := len("go")
	numbers := 0
	for {
		number := i
		i = digitsEnd(s[:end], i)
		if reason := wrongNumber(Go, s[number:i]); reason != "" {
			return dst, reject(Go, s, number, reason)
		}
		dst = appendNumber(dst, semverNumbers, s[number:i])
		if numbers++; numbers == 3 || i == end || s[i] != '.' {
			break
		}
		i++
	}
	for range 3 - numbers {
		dst = appendUint(dst, semverNumbers, 0)
	}
	if i == end {
		return append(dst, semverRelease), nil
	}
	if numbers != 2 {
		return dst, reject(Go, s, i, "cannot go on like this")
	}
	return appendToolchainPrerelease(dst, s, i, end)
}

// appendToolchainPrerelease appends what stands from i to end: a word, and a number or none.
func appendToolchainPrerelease(dst []byte, s string, i, end int) ([]byte, error) {
	word := i
	for ; i < end && isLower(s[i]); i++ {
		dst = append(dst, s[i]|semverText)
	}
	if i == word {
		return dst, reject(Go, s, i, "cannot go on like this")
	}
	if i == end {
		return append(dst, semverEnd), nil
	}
	number := i
	i = digitsEnd(s[:end], i)
	if reason := wrongNumber(Go, s[number:i]); reason != "" {
		return dst, reject(Go, s, number, reason)
	}
	if i < end {
		return dst, reject(Go, s, i, "cannot go on like this")
	}
	dst = appendNumber(append(dst, semverNext), semverNumbers, s[number:i])
	return append(dst, semverEnd), nil
}
