package version

// Versions of npm packages: those of Semantic Versioning, written as node-semver reads them.
//
// The order is that of node-semver 7.8 (classes/semver.js), and of semver.go.
//
// A version is valid when node-semver says so in its loose mode, in which the registry has let authors
// publish: white space, "v" and "=" may stand in front (=v1.2.3), numbers may have leading zeros, and
// the hyphen before a pre-release may be left out (1.2.3beta). As there, none of the three numbers is
// above 2^53-1 and the whole is no longer than 256 bytes. White space, also that at the end, is of ASCII.
//
// Three forms that loose mode lets through are refused here, for they are accidents of its regular
// expression: 1.2.34.5, which it takes for 1.2.3-4.5; 1.2.30-, which it takes for 1.2.3-0-; and
// 1.2.3-, to which it gives a pre-release that consists of the hyphen. Numbers of a pre-release are
// compared by value, whatever their length, where node-semver rounds those from 2^53 on.

const (
	npmMostBytes  = 256
	npmMostNumber = 1<<53 - 1
)

func appendNPM(dst []byte, s string) ([]byte, error) {
	if len(s) > npmMostBytes {
		return dst, reject(NPM, s, npmMostBytes, "longer than 256 bytes")
	}
	i := 0
	for i < len(s) && (s[i] == 'v' || s[i] == '=' || isSpace(s[i])) {
		i++
	}
	dst, i, err := appendTriple(dst, NPM, s, i)
	if err != nil {
		return dst, err
	}
	if i < len(s) && s[i] == '-' {
		return appendPrerelease(dst, NPM, s, i+1)
	}
	if i < len(s) && isLetter(s[i]) {
		return appendPrerelease(dst, NPM, s, i)
	}
	return appendRelease(dst, NPM, s, i)
}
