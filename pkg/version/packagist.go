package version

import "strings"

// Versions of Composer packages (Packagist).
//
// The order is that of Composer's library semver 3.4: its VersionParser brings a version to a normal
// form, and PHP's version_compare compares these. Normal forms have four numbers, 0 for those left out,
// or those of a date; then a stability with its numbers, if there is one; then "dev", if that is there.
// At any place
//
//	stable (in capitals)  <  dev  <  alpha = a  <  beta = b  <  RC  <  the end  <  a number  <  patch = pl = p
//
// so that 1.0-dev < 1.0-alpha1-dev < 1.0-alpha1 < 1.0-RC1 < v1.0 = 1.0.0.0 < 1.0-p1 < 1.0.1-dev. The
// number of a date with more parts than another comes after it: 2020-01-02 < 2020-01-02-03.
//
// A version is valid when VersionParser.normalize takes it and it can be compared. 1.x-dev, the
// development of the branch 1, is 1.9999999.9999999.9999999-dev. Other branches (dev-main) and what
// the name of one stands for (master, trunk, default) have no order and are refused, and so are
// aliases and stability flags (1.0 as 2.0, 1.0@dev), which belong to requirements. A build (+) makes no
// difference. White space around a version is ignored. Numbers are compared by value whatever their
// length, where PHP takes those from 2^63 on for equal.

// The codes of a packagist key beside those of numbers, which are 0x7c … 0xfe.
const (
	packagistStable  = 0x01 // written with a capital: "stable" alone is left out
	packagistDev     = 0x02
	packagistAlpha   = 0x03
	packagistBeta    = 0x04
	packagistRC      = 0x05
	packagistEnd     = 0x06
	packagistNumbers = 0x7c
	packagistPatch   = 0xff
)

// packagistWords are the stabilities and their codes; one that begins another stands after it.
var packagistWords = [...]struct {
	word string
	code byte
}{
	{"rc", packagistRC}, {"beta", packagistBeta}, {"b", packagistBeta}, {"alpha", packagistAlpha}, {"a", packagistAlpha},
	{"patch", packagistPatch}, {"pl", packagistPatch}, {"p", packagistPatch}, {"stable", packagistStable},
}

func appendPackagist(dst []byte, s string) ([]byte, error) {
	if isBranch(s) {
		return dst, reject(Packagist, s, 0, "a branch, which has no place in the order")
	}
	i, end := 0, withoutBuild(s)
	if end > 0 && s[0]|0x20 == 'v' {
		i++
	}
	if digitsEnd(s[:end], i) == i {
		return dst, reject(Packagist, s, i, "no number")
	}
	key, bad := appendClassic(dst, s[:end], i)
	if bad < 0 {
		return key, nil
	}
	key, ok := appendDate(dst, s[:end], i)
	if !ok {
		key, ok = appendNumberedBranch(dst, s[:end], i)
	}
	if ok {
		return key, nil
	}
	return dst, reject(Packagist, s, bad, "cannot go on like this")
}

// isBranch reports whether s is a branch that its name and not a number tells.
func isBranch(s string) bool {
	switch s {
	case "master", "trunk", "default":
		return true
	}
	return len(s) >= len("dev-") && strings.EqualFold(s[:len("dev-")], "dev-")
}

// withoutBuild returns where the build begins, or the end of s where there is none.
func withoutBuild(s string) int {
	plus := strings.IndexByte(s, '+')
	if plus < 0 || plus+1 == len(s) {
		return len(s)
	}
	for i := plus + 1; i < len(s); i++ {
		if isSpace(s[i]) {
			return len(s)
		}
	}
	return plus
}

// appendClassic appends a version of up to four numbers, the first at i and of up to five digits. It
// returns where s cannot be one, or -1.
func appendClassic(dst []byte, s string, i int) ([]byte, int) {
	start := i
	for component := range 4 {
		if component > 0 {
			if i == len(s) || s[i] != '.' || digitsEnd(s, i+1) == i+1 {
				dst = appendUint(dst, packagistNumbers, 0)
				continue
			}
			i++
		}
		number := i
		i = digitsEnd(s, i)
		dst = appendNumber(dst, packagistNumbers, s[number:i])
		if component == 0 && i > start+5 {
			return dst, start
		}
	}
	return appendStability(dst, s, i)
}

// A date has four digits, at least one and up to six pairs of digits, and up to two numbers of up to
// three digits, with or without a separator between them.
const (
	datePairs     = 6
	dateNumbers   = 2
	dateMostBytes = 4 + datePairs*len("-00") + dateNumbers*len("-000")
)

// appendDate appends a version that is a date or a time, if s from i on is one.
func appendDate(dst []byte, s string, i int) ([]byte, bool) {
	end := i
	for j := i; j < len(s) && (isDigit(s[j]) || isDateSeparator(s[j])); j++ {
		if isDigit(s[j]) {
			end = j + 1
		}
	}
	if end-i > dateMostBytes || digitsEnd(s, i) < i+4 || !isRestOfDate(s[i+4:end], 0, 0) {
		return dst, false
	}
	for i < end {
		number := i
		i = digitsEnd(s, i)
		dst = appendNumber(dst, packagistNumbers, s[number:i])
		if i < end {
			i++
		}
	}
	dst, bad := appendStability(dst, s, end)
	return dst, bad < 0
}

// isRestOfDate reports whether a date can go on with s after so many pairs and numbers.
func isRestOfDate(s string, pairs, numbers int) bool {
	if s == "" {
		return pairs > 0
	}
	if isDateSeparator(s[0]) {
		s = s[1:]
	}
	digits := digitsEnd(s, 0)
	if numbers == 0 && pairs < datePairs && digits >= 2 && isRestOfDate(s[2:], pairs+1, 0) {
		return true
	}
	if pairs == 0 || numbers == dateNumbers {
		return false
	}
	for n := 1; n <= min(3, digits); n++ {
		if isRestOfDate(s[n:], pairs, numbers+1) {
			return true
		}
	}
	return false
}

func isDateSeparator(c byte) bool { return c == '.' || c == ':' || c == '-' }

// appendNumberedBranch appends the development of a branch of up to four numbers, from i on: 1.x-dev. A
// number that is left open or out is greater than any that a release would have.
func appendNumberedBranch(dst []byte, s string, i int) ([]byte, bool) {
	end := len(s) - len("dev")
	if !hasFold(s, end, "dev") {
		return dst, false
	}
	if s[end-1] == '.' || s[end-1] == '-' {
		end--
	}
	for component := range 4 {
		if component > 0 {
			if i == end {
				dst = appendUint(dst, packagistNumbers, 9999999)
				continue
			}
			if s[i] != '.' {
				return dst, false
			}
			i++
		}
		switch number := i; {
		case digitsEnd(s, i) > i:
			i = digitsEnd(s, i)
			dst = appendNumber(dst, packagistNumbers, s[number:i])
		case component > 0 && i < end && (lower(s[i]) == 'x' || s[i] == '*'):
			i++
			dst = appendUint(dst, packagistNumbers, 9999999)
		default:
			return dst, false
		}
	}
	return append(dst, packagistDev, packagistEnd), i == end
}

// appendStability appends what ends a version, from i on: a stability with its numbers, "dev", both or
// neither. It returns where s cannot be that, or -1.
func appendStability(dst []byte, s string, i int) ([]byte, int) {
	if i < len(s) && (s[i] == '.' || s[i] == '_' || s[i] == '-') {
		i++
	}
	released := len(dst)
	plain := false // "stable", after which nothing counts
	for _, w := range packagistWords {
		if !hasFold(s, i, w.word) {
			continue
		}
		plain = s[i:i+len(w.word)] == "stable"
		dst, i = appendStabilityNumbers(append(dst, w.code), s, i+len(w.word))
		break
	}
	if dev := afterDotOrHyphen(s, i); hasFold(s, dev, "dev") {
		i = dev + len("dev")
		dst = append(dst, packagistDev)
	}
	if i < len(s) {
		return dst, i
	}
	if plain {
		dst = dst[:released]
	}
	return append(dst, packagistEnd), -1
}

// appendStabilityNumbers appends the numbers that stand from i on, with or without a dot or a hyphen
// before each, and returns where they end.
func appendStabilityNumbers(dst []byte, s string, i int) ([]byte, int) {
	for {
		number := afterDotOrHyphen(s, i)
		end := digitsEnd(s, number)
		if end == number {
			return dst, i
		}
		dst, i = appendNumber(dst, packagistNumbers, s[number:end]), end
	}
}

func afterDotOrHyphen(s string, i int) int {
	if i < len(s) && (s[i] == '.' || s[i] == '-') {
		return i + 1
	}
	return i
}
