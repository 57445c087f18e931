package version

// Versions of Semantic Versioning 2.0.0 (semver.org), as crates.io, Hex, Swift and others have them:
// major.minor.patch[-pre-release][+build].
//
// The order is that of its section 11: the three numbers by value, then the pre-release, which comes
// before the release. The identifiers of pre-releases are compared one by one: numbers by value, others
// as text, numbers before others, and what ends before what goes on. What stands after the plus sign
// makes no difference: 1.0.0-1 < 1.0.0-1.a < 1.0.0-a < 1.0.0 = 1.0.0+a.
//
// A version is valid when sections 2, 9 and 10 say so: three numbers, no empty identifier, no number
// with leading zeros. A "v" in front is no part of a version; npm and Go, whose ways of writing them
// allow for it, have schemes of their own (npm.go, gomod.go). Numbers may be of any length.

// The codes of a semver key beside those of numbers, which are 0x02 … 0x84, and of characters of an
// identifier, which are 0xad … 0xfa.
const (
	semverNumbers = 0x02
	semverEnd     = 0x00 // ends a pre-release
	semverNext    = 0x01 // between an identifier that is no number and another
	semverText    = 0x80 // or-ed to a character
	semverRelease = 0xff // stands where there is no pre-release
)

func appendSemver(dst []byte, s string) ([]byte, error) {
	dst, i, err := appendTriple(dst, Semver, s, 0)
	if err != nil {
		return dst, err
	}
	if i < len(s) && s[i] == '-' {
		return appendPrerelease(dst, Semver, s, i+1)
	}
	return appendRelease(dst, Semver, s, i)
}

// appendTriple appends three numbers with dots between them, from i on, and returns where they end. A
// version of Go may end after the first or the second.
func appendTriple(dst []byte, scheme Scheme, s string, i int) ([]byte, int, error) {
	for component := range 3 {
		if component > 0 {
			if i == len(s) && scheme == Go {
				dst = appendUint(dst, semverNumbers, 0)
				continue
			}
			if i == len(s) || s[i] != '.' {
				return dst, i, reject(scheme, s, i, "fewer than three numbers")
			}
			i++
		}
		number := i
		i = digitsEnd(s, i)
		if reason := wrongNumber(scheme, s[number:i]); reason != "" {
			return dst, i, reject(scheme, s, number, reason)
		}
		dst = appendNumber(dst, semverNumbers, s[number:i])
	}
	return dst, i, nil
}

// wrongNumber returns what is wrong with the digits of one of the three numbers, or nothing.
func wrongNumber(scheme Scheme, digits string) string {
	switch {
	case digits == "":
		return "no number"
	case scheme == NPM && above(digits, npmMostNumber):
		return "number above 9007199254740991"
	case scheme != NPM && digits[0] == '0' && len(digits) > 1:
		return "number with leading zeros"
	}
	return ""
}

// appendRelease ends the key of a version without pre-release, which goes on at i with a build or not.
func appendRelease(dst []byte, scheme Scheme, s string, i int) ([]byte, error) {
	if err := checkBuild(scheme, s, i); err != nil {
		return dst, err
	}
	return append(dst, semverRelease), nil
}

// appendPrerelease ends the key of a version with the pre-release whose first identifier begins at i.
func appendPrerelease(dst []byte, scheme Scheme, s string, i int) ([]byte, error) {
	for afterText := false; ; i++ {
		identifier := i
		i = identifierEnd(s, i)
		if afterText {
			dst = append(dst, semverNext)
		}
		var reason string
		dst, afterText, reason = appendIdentifier(dst, scheme, s[identifier:i])
		if reason != "" {
			return dst, reject(scheme, s, identifier, reason)
		}
		if i == len(s) || s[i] != '.' {
			break
		}
	}
	if err := checkBuild(scheme, s, i); err != nil {
		return dst, err
	}
	return append(dst, semverEnd), nil
}

// appendIdentifier appends an identifier of a pre-release. It returns whether that is text and not a
// number, or what is wrong with it.
func appendIdentifier(dst []byte, scheme Scheme, text string) (key []byte, isText bool, reason string) {
	if text == "" {
		return dst, false, "identifier is empty"
	}
	if digitsEnd(text, 0) == len(text) {
		if scheme != NPM && text[0] == '0' && len(text) > 1 {
			return dst, false, "number with leading zeros"
		}
		if scheme != NuGet || !above(text, nugetMostNumber) {
			return appendNumber(dst, semverNumbers, text), false, ""
		}
	}
	if scheme == NuGet && text[0] == '-' && len(text) > 1 && digitsEnd(text, 1) == len(text) {
		return dst, false, "negative number"
	}
	for i := range len(text) {
		c := text[i]
		if scheme == NuGet {
			c = lower(c)
		}
		dst = append(dst, c|semverText)
	}
	return dst, true, ""
}

// checkBuild holds what ends a version, from i on, to nothing or a plus sign and identifiers.
func checkBuild(scheme Scheme, s string, i int) error {
	if i == len(s) {
		return nil
	}
	if s[i] != '+' {
		return reject(scheme, s, i, "cannot go on like this")
	}
	for {
		identifier := i + 1
		i = identifierEnd(s, identifier)
		switch {
		case i == identifier:
			return reject(scheme, s, i, "identifier is empty")
		case i == len(s):
			return nil
		case s[i] != '.':
			return reject(scheme, s, i, "character not allowed")
		}
	}
}

// identifierEnd returns the end of the run of letters, digits and hyphens that starts at i.
func identifierEnd(s string, i int) int {
	for i < len(s) && (isDigit(s[i]) || isLetter(s[i]) || s[i] == '-') {
		i++
	}
	return i
}
