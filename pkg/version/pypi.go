package version

// Versions of Python packages: [v][epoch!]release[pre-release][post-release][dev-release][+local].
//
// The order is that of the version specifiers specification ("Summary of permitted suffixes and relative
// ordering"), once PEP 440, as packaging 26 carries it out (packaging/version.py, _cmpkey). Epoch and
// release are compared as numbers, zeros that end a release do not count, and then
//
//	.dev  <  a  <  b  <  rc  <  nothing
//
// with each of these, and nothing, followed in turn by its own development releases, itself, and its
// post-releases: 1.dev1 < 1a1.dev1 < 1a1 < 1a1.post1 < 1rc1 < 1 = 1.0 < 1.post1.dev1 < 1.post1 < 1.1.
// Local versions come after the public version they are of; their segments are compared as text or, if
// they consist of digits, by value, which comes after text.
//
// A version is valid when packaging's Version takes it: its spellings (1.0-ALPHA.1, 1.0_c1, 1.0-1 for
// 1.0.post1) are those of the specification's appendix B. White space around it, of ASCII, is ignored.
// What setuptools made a version of before the specification (2004d, 0.1dev-r123) is refused, as pip
// has refused it since 24.1; nothing says where it would belong.

// The codes of a pypi key beside those of numbers, which are 0x7c … 0xfe, and of the characters of local
// versions, which are their own ASCII in lower case. The codes after the release are less than those
// of numbers, so a release that ends comes before one that goes on.
const (
	pypiNumbers = 0x7c
	pypiDevOnly = 0x02 // a development release of a release
	pypiAlpha   = 0x03
	pypiBeta    = 0x04
	pypiRC      = 0x05
	pypiFinal   = 0x06 // no pre-release

	pypiDev   = 0x01 // a development release of what stands before
	pypiNoDev = 0x02
	pypiPost  = 0x03

	pypiEnd  = 0x01 // ends the local version, or stands where there is none
	pypiNext = 0x02 // between a segment of text and another
)

// pypiPhases are the names of pre-releases and their codes; one that begins another stands after it.
var pypiPhases = [...]struct {
	word string
	code byte
}{
	{"rc", pypiRC}, {"alpha", pypiAlpha}, {"a", pypiAlpha}, {"beta", pypiBeta}, {"b", pypiBeta},
	{"preview", pypiRC}, {"pre", pypiRC}, {"c", pypiRC},
}

func appendPyPI(dst []byte, s string) ([]byte, error) {
	i := 0
	if s != "" && s[0]|0x20 == 'v' {
		i++
	}
	epoch := ""
	if bang := digitsEnd(s, i); bang > i && bang < len(s) && s[bang] == '!' {
		epoch, i = s[i:bang], bang+1
	}
	if digitsEnd(s, i) == i {
		return dst, reject(PyPI, s, i, "no number")
	}
	dst, i = appendPyPIRelease(appendNumber(dst, pypiNumbers, epoch), s, i)
	dst, i = appendPyPISuffixes(dst, s, i)
	if i == len(s) {
		return append(dst, pypiEnd), nil
	}
	if s[i] != '+' {
		return dst, reject(PyPI, s, i, "cannot go on like this")
	}
	return appendPyPILocal(dst, s, i+1)
}

// appendPyPIRelease appends the numbers with dots between them that start at i, and returns where they
// end.
func appendPyPIRelease(dst []byte, s string, i int) ([]byte, int) {
	kept := len(dst)
	for {
		number := i
		i = digitsEnd(s, i)
		dst = appendNumber(dst, pypiNumbers, s[number:i])
		if above(s[number:i], 0) {
			kept = len(dst)
		}
		if i == len(s) || s[i] != '.' || digitsEnd(s, i+1) == i+1 {
			return dst[:kept], i
		}
		i++
	}
}

// appendPyPISuffixes appends what stands between the release and the local version, and returns where
// it ends.
func appendPyPISuffixes(dst []byte, s string, i int) ([]byte, int) {
	phase, preNumber := byte(pypiFinal), ""
	for _, p := range pypiPhases {
		if end, digits, ok := pypiSuffix(s, i, p.word); ok {
			phase, preNumber, i = p.code, digits, end
			break
		}
	}
	post, postNumber, i := pypiPostRelease(s, i)
	end, devNumber, dev := pypiSuffix(s, i, "dev")
	if dev {
		i = end
	}
	if phase == pypiFinal && dev && !post {
		return appendNumber(append(dst, pypiDevOnly), pypiNumbers, devNumber), i
	}
	dst = append(dst, phase)
	if phase != pypiFinal {
		dst = appendNumber(dst, pypiNumbers, preNumber)
	}
	if post {
		dst = appendNumber(append(dst, pypiPost), pypiNumbers, postNumber)
	}
	if !dev {
		return append(dst, pypiNoDev), i
	}
	return appendNumber(append(dst, pypiDev), pypiNumbers, devNumber), i
}

// pypiPostRelease reads a post-release at i if there is one, and returns its number and where it ends.
func pypiPostRelease(s string, i int) (found bool, digits string, end int) {
	if i < len(s) && s[i] == '-' {
		if end := digitsEnd(s, i+1); end > i+1 {
			return true, s[i+1 : end], end
		}
	}
	for _, word := range [...]string{"post", "rev", "r"} {
		if end, digits, ok := pypiSuffix(s, i, word); ok {
			return true, digits, end
		}
	}
	return false, "", i
}

// pypiSuffix reads a word at i and the number that may follow it, each after a separator or none, and
// returns where that ends.
func pypiSuffix(s string, i int, word string) (end int, digits string, ok bool) {
	i = afterPyPISeparator(s, i)
	if !hasFold(s, i, word) {
		return 0, "", false
	}
	i = afterPyPISeparator(s, i+len(word))
	end = digitsEnd(s, i)
	return end, s[i:end], true
}

func afterPyPISeparator(s string, i int) int {
	if i < len(s) && isPyPISeparator(s[i]) {
		return i + 1
	}
	return i
}

func isPyPISeparator(c byte) bool { return c == '.' || c == '-' || c == '_' }

// appendPyPILocal appends the local version, which starts at i and ends s.
func appendPyPILocal(dst []byte, s string, i int) ([]byte, error) {
	for afterText := false; ; i++ {
		segment := i
		for i < len(s) && (isDigit(s[i]) || isLetter(s[i])) {
			i++
		}
		if i == segment {
			return dst, reject(PyPI, s, i, "segment of the local version is empty")
		}
		if afterText {
			dst = append(dst, pypiNext)
		}
		text := s[segment:i]
		if afterText = digitsEnd(text, 0) < len(text); afterText {
			for j := range len(text) {
				dst = append(dst, text[j]|0x20) // digits have that bit
			}
		} else {
			dst = appendNumber(dst, pypiNumbers, text)
		}
		if i == len(s) {
			return append(dst, pypiEnd), nil
		}
		if !isPyPISeparator(s[i]) {
			return dst, reject(PyPI, s, i, "character not allowed")
		}
	}
}
