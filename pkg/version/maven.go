package version

import "strings"

// Versions of Maven artifacts.
//
// The order is that of ComparableVersion in Maven 3.9 (maven-artifact, "Version Order Specification"),
// as far as that is one. A version is a list of numbers and words; a hyphen, or a change from digits to
// others or back, lets it go on in a list within the list. What is null (0, and the words final, ga and
// release) does not count at the end of a list. At any place
//
//	alpha < beta < milestone < rc = cr < snapshot < null < sp < other words  <  a list  <  a number
//
// with words compared without regard to case, and a, b and m before a digit for alpha, beta and
// milestone. Where one version ends and the other goes on, what decides is the first thing in the rest
// that is not null: a word before null puts it before the version that ends, all else after it.
//
// These two rules contradict each other: by the first, 1.foo.2 < 1-rc, for a word is less than a list; by
// the second, 1-rc < 1 < 1.foo.2. Such circles are rare (131 of the 11 million pairs of 12,140 versions
// in advisories that share their first number), for a word has to stand in a list behind a number
// (3.14.0.rc.3 < 3.14 < 3.14.0-04 < 3.14.0.rc.3), or a list has to begin with null (1-ga-rc). No key can
// follow a circle. Keys hold to the second rule first: what goes on from a version lies before or after
// it, and the first rule orders each of these sides. So a key differs from what Maven says of two
// versions only if Maven puts one of them before and the other after a third, from which both go on,
// and yet does not put the one before the other.
//
// Maven gives any string an order. A version is valid here when Maven's own checks of a POM take it, it
// is not empty and of ASCII without white space: no character of \/:"<>|?*[](){}, stands in it. So
// "${revision}" and "1.0 (build 3)" are refused. Ten zeros and more in a row, with no other digit, which
// Maven by accident takes for a large number, are zero here.

// The codes of a maven key beside those of numbers, which are 0x36 … 0xb8, 0x36 for a zero after which
// there is something above null. Words that are not known begin with a code from 0x0d to 0x34 and
// go on with codes from 0xc0 to 0xe7, by the place of the character in mavenCharacters.
const (
	mavenAlpha     = 0x02
	mavenBeta      = 0x03
	mavenMilestone = 0x04
	mavenRC        = 0x05
	mavenSnapshot  = 0x06
	mavenNullPre   = 0x07 // a null word; in the end, a word before null follows
	mavenListPre   = 0x08 // a list; in the end, a word before null follows
	mavenZeroPre   = 0x09 // a zero; in the end, a word before null follows
	mavenEnd       = 0x0a
	mavenNull      = 0x0b
	mavenSP        = 0x0c
	mavenWord      = 0x0d
	mavenList      = 0x35
	mavenNumbers   = 0x36
	mavenWordOn    = 0xc0
)

// mavenCharacters are those that words may have, in their order.
const mavenCharacters = "!#$%&'+;=@^_`abcdefghijklmnopqrstuvwxyz~"

// mavenWords are the words with a place of their own, and their codes.
var mavenWords = [...]struct {
	word string
	code byte
}{
	{"snapshot", mavenSnapshot}, {"final", mavenNull}, {"release", mavenNull}, {"ga", mavenNull},
	{"alpha", mavenAlpha}, {"beta", mavenBeta}, {"milestone", mavenMilestone}, {"rc", mavenRC}, {"cr", mavenRC},
	{"sp", mavenSP},
}

func appendMaven(dst []byte, s string) ([]byte, error) {
	if s == "" {
		return dst, reject(Maven, s, 0, "empty")
	}
	k := mavenKey{key: dst, null: len(dst), empty: true}
	start, digits := 0, false // of the item that is being read
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.' || c == '-':
			k = k.item(s[start:i], digits)
			start = i + 1
			if c == '-' {
				k = k.list()
			}
		case isDigit(c):
			if !digits && i > start {
				k = k.wordInList(s[start:i], true).list()
				start = i
			}
			digits = true
		case strings.IndexByte(mavenCharacters, lower(c)) < 0:
			return dst, reject(Maven, s, i, "character not allowed")
		default:
			if digits && i > start {
				k = k.number(s[start:i]).list()
				start = i
			}
			digits = false
		}
	}
	switch {
	case start == len(s):
	case digits:
		k = k.number(s[start:])
	default:
		k = k.wordInList(s[start:], false)
	}
	return append(k.key[:k.null], mavenEnd), nil
}

// mavenKey is a key that grows. Its methods return the longer key.
type mavenKey struct {
	key   []byte
	null  int  // from here on, key has nulls and lists of nothing else: so far they do not count
	empty bool // nothing stands in the innermost list, not even null
}

// item appends what stands before a dot or a hyphen, which is zero when nothing does.
func (k mavenKey) item(text string, digits bool) mavenKey {
	if digits || text == "" {
		return k.number(text)
	}
	return k.word(text, false)
}

func (k mavenKey) number(digits string) mavenKey {
	k.key = appendNumber(k.key, mavenNumbers, digits)
	k.empty = false
	if above(digits, 0) {
		k.null = len(k.key)
	}
	return k
}

// list goes on in a new list. The nulls that end the one before do not count.
func (k mavenKey) list() mavenKey {
	for len(k.key) > k.null && k.key[len(k.key)-1] != mavenList {
		k.key = k.key[:len(k.key)-1]
	}
	k.key = append(k.key, mavenList)
	k.empty = true
	return k
}

// wordInList appends a word that begins a list, also where it has only a dot before it.
func (k mavenKey) wordInList(text string, beforeDigit bool) mavenKey {
	if !k.empty {
		k = k.list()
	}
	return k.word(text, beforeDigit)
}

func (k mavenKey) word(text string, beforeDigit bool) mavenKey {
	k.empty = false
	code := mavenWordCode(text, beforeDigit)
	switch {
	case code == mavenNull:
		k.key = append(k.key, mavenNull)
		return k
	case code < mavenEnd:
		turnNulls(k.key[k.null:])
		k.key = append(k.key, code)
	case code == mavenSP:
		k.key = append(k.key, code)
	default:
		for i := range len(text) {
			k.key = append(k.key, code+byte(strings.IndexByte(mavenCharacters, lower(text[i]))))
			code = mavenWordOn
		}
	}
	k.null = len(k.key)
	return k
}

// turnNulls gives nulls and lists the codes that come before the end: a word before null follows them.
func turnNulls(key []byte) {
	for i, code := range key {
		switch code {
		case mavenNull:
			key[i] = mavenNullPre
		case mavenList:
			key[i] = mavenListPre
		default:
			key[i] = mavenZeroPre
		}
	}
}

// mavenWordCode returns the code of a word, mavenWord for one that has no place of its own.
func mavenWordCode(text string, beforeDigit bool) byte {
	if beforeDigit && len(text) == 1 {
		switch lower(text[0]) {
		case 'a':
			return mavenAlpha
		case 'b':
			return mavenBeta
		case 'm':
			return mavenMilestone
		}
	}
	for _, w := range mavenWords {
		if strings.EqualFold(text, w.word) {
			return w.code
		}
	}
	return mavenWord
}
