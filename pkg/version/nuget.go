package version

// Versions of NuGet packages: major[.minor[.patch[.revision]]][-pre-release][+build].
//
// The order is that of NuGet.Versioning 5.8 and later (VersionComparer.Default). It is that of semver.go
// with a fourth number, which, like the second and third, is 0 where it is left out; with identifiers
// that are compared without regard to case; and with those numbers of a pre-release that are greater
// than 2147483647 taken for text: 1-beta.2 < 1-beta.10 < 1-BETA.20240102030405 < 1 = 1.0.0.0 < 1.0.0.1.
//
// A version is valid when NuGetVersion.TryParse says so: up to four numbers up to 2147483647, which may
// have leading zeros, and a pre-release and a build of the form that semver.go has. White space around
// it, of ASCII, is ignored; white space beside the dots, which the system's parser of numbers lets
// through, is not. An identifier such as -5, a hyphen and digits, is refused: NuGet takes it for a
// negative number, though it is text to the documents that NuGet refers to.

// nugetMostNumber is the greatest number, by value.
const nugetMostNumber = 1<<31 - 1

func appendNuGet(dst []byte, s string) ([]byte, error) {
	i := 0
	for component := range 4 {
		if component > 0 {
			if i == len(s) || s[i] != '.' {
				dst = appendUint(dst, semverNumbers, 0)
				continue
			}
			i++
		}
		number := i
		i = digitsEnd(s, i)
		if i == number {
			return dst, reject(NuGet, s, i, "no number")
		}
		if above(s[number:i], nugetMostNumber) {
			return dst, reject(NuGet, s, number, "number above 2147483647")
		}
		dst = appendNumber(dst, semverNumbers, s[number:i])
	}
	if i < len(s) && s[i] == '-' {
		return appendPrerelease(dst, NuGet, s, i+1)
	}
	return appendRelease(dst, NuGet, s, i)
}
