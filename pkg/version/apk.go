package version

// Versions of Alpine packages: digit{.digit}…[letter]{_suffix[digit]}…[~hash][-r#].
//
// The order is that of apk-tools 3.0 (src/version.c, apk_version_compare; apk-package(5), "pkgver").
// Versions are compared token by token. At any place
//
//	_alpha < _beta < _pre < _rc  <  the end  <  -r#  <  ~hash  <  the number of a suffix
//	       <  _cvs < _svn < _git < _hg < _p  <  a letter  <  a further component
//
// so that 1.0_rc1 < 1.0 < 1.0-r0 < 1.0_p < 1.0_p0 < 1.0a < 1.0.0: what is left out is not zero.
// The first component, the numbers of suffixes and the revision are compared by value; hashes as
// text; components after the first by value unless one of the two begins with a zero, and then both
// as text. That last rule still makes an order of the components, for a text that begins with a zero
// comes before all others, whichever way one looks at it:
//
//	0 < 00 < 001 < 01 < 010 < 09 < 1 < 2 < 10
//
// Tokens at one place are totally ordered and places are taken one by one, so versions are totally
// ordered too.
//
// apk-tools 2 orders nearly all versions alike. It differs over leading zeros (up to 2.14 at least, 1.00
// comes before 1.0, and 8.0.002 before 8.0.0015), and before 2.14 a pre-release of a version that ends
// in a zero comes after it (1.0 before 1.0_rc1, though 1.1_rc1 before 1.1). One order has to serve for
// all releases of Alpine; this is the one that is documented, and that is kept.
//
// A version is valid when "apk version --check" of apk-tools 3.0 says so. apk-tools 2 also let
// through what is misspelled (1.18.-r2, 6.6.4p1-r1); 3.0 compares such strings only up to where it
// cannot read on, and they are refused here. Numbers are compared by value whatever their length,
// where apk-tools keeps their last 64 bits.

// The codes of an apk key beside those of numbers, which are 0x7c … 0xfe, and letters, which are their
// own ASCII. Of the components after the first, only those that begin with a zero can be 0, so theirs
// is the code of the number 0.
const (
	apkNumbers      = 0x7c
	apkEnd          = 0x05
	apkRevision     = 0x06
	apkHash         = 0x07
	apkSuffixNumber = 0x08
	apkZero         = 0x7b // the component "0"
	apkLeadingZero  = 0x7c // a longer one that begins with a zero
	apkZeroEnd      = 0x00 // after the digits of such a one
)

// apkSuffixes are the suffixes and their codes, most usual first.
var apkSuffixes = [...]struct {
	word string
	code byte
}{
	{"p", 0x0d}, {"git", 0x0b}, {"rc", 0x04}, {"beta", 0x02}, {"alpha", 0x01}, {"pre", 0x03},
	{"svn", 0x0a}, {"cvs", 0x09}, {"hg", 0x0c},
}

func appendAPK(dst []byte, s string) ([]byte, error) {
	i := digitsEnd(s, 0)
	if i == 0 {
		return dst, reject(APK, s, 0, "no number")
	}
	dst = appendNumber(dst, apkNumbers, s[:i])
	for i < len(s) && s[i] == '.' {
		component := i + 1
		if i = digitsEnd(s, component); i == component {
			return dst, reject(APK, s, i, "no number after the dot")
		}
		dst = appendAPKComponent(dst, s[component:i])
	}
	if i < len(s) && isLower(s[i]) {
		dst = append(dst, s[i])
		i++
	}
	for i < len(s) && s[i] == '_' {
		word := i + 1
		i = wordEnd(s, word)
		code := apkSuffix(s[word:i])
		if code == 0 {
			return dst, reject(APK, s, word, "no such suffix")
		}
		dst = append(dst, code)
		if number := i; i < len(s) && isDigit(s[i]) {
			i = digitsEnd(s, i)
			dst = appendNumber(append(dst, apkSuffixNumber), apkNumbers, s[number:i])
		}
	}
	if i < len(s) && s[i] == '~' {
		hash := i + 1
		if i = hashEnd(s, hash); i == hash {
			return dst, reject(APK, s, i, "no hash after the tilde")
		}
		dst = append(append(dst, apkHash), s[hash:i]...)
	}
	return appendAPKRevision(dst, s, i)
}

// appendAPKRevision appends what ends a version: a revision or none, from i on.
func appendAPKRevision(dst []byte, s string, i int) ([]byte, error) {
	if i == len(s) {
		return append(dst, apkEnd), nil
	}
	number := i + len("-r")
	if number > len(s) || s[i:number] != "-r" {
		return dst, reject(APK, s, i, "cannot go on like this")
	}
	end := digitsEnd(s, number)
	if end == number {
		return dst, reject(APK, s, end, "no number of a revision")
	}
	if end < len(s) {
		return dst, reject(APK, s, end, "more after the revision")
	}
	return appendNumber(append(dst, apkRevision), apkNumbers, s[number:]), nil
}

// appendAPKComponent appends a component after the first.
func appendAPKComponent(dst []byte, digits string) []byte {
	switch {
	case digits[0] != '0':
		return appendNumber(dst, apkNumbers, digits)
	case len(digits) == 1:
		return append(dst, apkZero)
	}
	dst = append(append(dst, apkLeadingZero), digits[1:]...)
	return append(dst, apkZeroEnd)
}

// wordEnd returns the end of the run of lower-case letters that starts at i.
func wordEnd(s string, i int) int {
	for i < len(s) && isLower(s[i]) {
		i++
	}
	return i
}

// hashEnd returns the end of the run of lower-case hexadecimal digits that starts at i.
func hashEnd(s string, i int) int {
	for i < len(s) && (isDigit(s[i]) || s[i]-'a' < 6) {
		i++
	}
	return i
}

// apkSuffix returns the code of a suffix, or 0.
func apkSuffix(word string) byte {
	for _, suffix := range apkSuffixes {
		if suffix.word == word {
			return suffix.code
		}
	}
	return 0
}
