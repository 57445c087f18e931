package version

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// Python: the version specifiers specification, appendix B and "Summary of permitted suffixes and
// relative ordering".

var refPyPIForm = regexp.MustCompile(`(?i)^[ \t\n\v\f\r]*v?(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)` +
	`([._-]?(alpha|a|beta|b|preview|pre|c|rc)[._-]?([0-9]+)?)?` +
	`(-([0-9]+)|[._-]?(post|rev|r)[._-]?([0-9]+)?)?` +
	`([._-]?dev[._-]?([0-9]+)?)?` +
	`(?:\+([a-z0-9]+(?:[._-][a-z0-9]+)*))?[ \t\n\v\f\r]*$`)

var refPyPIPhases = map[string]int64{"a": 1, "alpha": 1, "b": 2, "beta": 2, "c": 3, "rc": 3, "pre": 3, "preview": 3}

// refPyPIKey returns what versions are compared by, in turn: lists that are compared place by place. The
// first is the release, without the zeros at its end; the last is the local version, if there is one.
func refPyPIKey(s string) (key []*big.Int, release, local []string) {
	m := refPyPIForm.FindStringSubmatch(s)
	number := func(i int64) *big.Int { return big.NewInt(i) }
	isPre, isPost, isDev := m[3] != "", m[6] != "", m[10] != ""
	phase := number(4)
	switch {
	case isPre:
		phase = number(refPyPIPhases[strings.ToLower(m[4])])
	case isDev && !isPost:
		phase = number(0)
	}
	post, dev := number(0), number(1)
	if isPost {
		post = number(1)
	}
	if isDev {
		dev = number(0)
	}
	key = []*big.Int{phase, refNumber(m[5]), post, refNumber(m[7] + m[9]), dev, refNumber(m[11])}
	release = strings.Split(m[2], ".")
	for len(release) > 0 && strings.Trim(release[len(release)-1], "0") == "" {
		release = release[:len(release)-1]
	}
	local = strings.FieldsFunc(strings.ToLower(m[12]), func(r rune) bool { return strings.ContainsRune("._-", r) })
	return append([]*big.Int{refNumber(m[1])}, key...), release, local
}

func refPyPICompare(a, b string) int {
	keyA, releaseA, localA := refPyPIKey(a)
	keyB, releaseB, localB := refPyPIKey(b)
	byValue := func(x, y string) int { return refNumber(x).Cmp(refNumber(y)) }
	if c := keyA[0].Cmp(keyB[0]); c != 0 {
		return c
	}
	if c := slices.CompareFunc(releaseA, releaseB, byValue); c != 0 {
		return c
	}
	if c := slices.CompareFunc(keyA[1:], keyB[1:], (*big.Int).Cmp); c != 0 {
		return c
	}
	return slices.CompareFunc(localA, localB, func(x, y string) int {
		switch {
		case refIsNumber(x) && refIsNumber(y):
			return byValue(x, y)
		case refIsNumber(x):
			return +1
		case refIsNumber(y):
			return -1
		}
		return strings.Compare(x, y)
	})
}

// RubyGems: the documentation of Gem::Version.

var (
	refGemValid    = regexp.MustCompile(`^[ \t\n\v\f\r]*[0-9]+(\.[0-9a-zA-Z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?[ \t\n\v\f\r]*$`)
	refGemSegments = regexp.MustCompile(`[0-9]+|[A-Za-z]+`)
)

// refGem returns the segments, without the zeros that end the numbers before the first word and those
// that end the rest.
func refGem(s string) []string {
	segments := refGemSegments.FindAllString(strings.ReplaceAll(s, "-", ".pre."), -1)
	isZero := func(s string) bool { return strings.Trim(s, "0") == "" }
	words := slices.IndexFunc(segments, func(s string) bool { return !refIsNumber(s) })
	if words < 0 {
		words = len(segments)
	}
	numbers, rest := segments[:words], segments[words:]
	for len(numbers) > 0 && isZero(numbers[len(numbers)-1]) {
		numbers = numbers[:len(numbers)-1]
	}
	for len(rest) > 0 && isZero(rest[len(rest)-1]) {
		rest = rest[:len(rest)-1]
	}
	return slices.Concat(numbers, rest)
}

func refGemCompare(a, b string) int {
	x, y := refGem(a), refGem(b)
	for len(x) < len(y) {
		x = append(x, "0")
	}
	for len(y) < len(x) {
		y = append(y, "0")
	}
	return slices.CompareFunc(x, y, func(i, j string) int {
		switch {
		case refIsNumber(i) && refIsNumber(j):
			return refNumber(i).Cmp(refNumber(j))
		case refIsNumber(i):
			return +1
		case refIsNumber(j):
			return -1
		}
		return strings.Compare(i, j)
	})
}
