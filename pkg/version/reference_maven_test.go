package version

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// Maven: ComparableVersion of Maven 3.9, item by item. It is no order (see maven.go), so the reference
// resolves its circles, and maven_test.go tells how.

var refMavenValid = regexp.MustCompile(`^[!#$%&'+\-.0-9;=@A-Z^_` + "`" + `a-z~]+$`)

// refItem is an item of a version: a number, a list or, if it is neither, a word.
type refItem struct {
	number *big.Int
	list   *refList
	word   string
}

type refList struct{ items []refItem }

var refMavenShort = map[string]string{"a": "alpha", "b": "beta", "m": "milestone"}

var refMavenAliases = map[string]string{"ga": "", "final": "", "release": "", "cr": "rc"}

func (x refItem) isNull() bool {
	switch {
	case x.number != nil:
		return x.number.Sign() == 0
	case x.list != nil:
		return len(x.list.items) == 0
	}
	return x.word == ""
}

// normalize leaves out the nulls at the end, and those before the list at the end, of this list and all
// in it.
func (l *refList) normalize() {
	for i := len(l.items) - 1; i >= 0; i-- {
		x := l.items[i]
		if x.list != nil {
			x.list.normalize()
		}
		if x.isNull() {
			l.items = slices.Delete(l.items, i, i+1)
		} else if x.list == nil {
			return
		}
	}
}

// refMaven reads a version character by character, as parseVersion does.
func refMaven(s string) *refList {
	s = strings.ToLower(s)
	top := &refList{}
	list := top
	nest := func() {
		inner := &refList{}
		list.items = append(list.items, refItem{list: inner})
		list = inner
	}
	add := func(text string, beforeDigit bool) {
		switch {
		case text == "" || isDigit(text[0]):
			list.items = append(list.items, refItem{number: refNumber(text)})
			return
		case beforeDigit && refMavenShort[text] != "":
			text = refMavenShort[text]
		}
		if alias, ok := refMavenAliases[text]; ok {
			text = alias
		}
		list.items = append(list.items, refItem{word: text})
	}
	text := ""
	for i := range len(s) + 1 {
		switch {
		case i == len(s):
			if text == "" {
				break
			}
			if !isDigit(text[0]) && len(list.items) > 0 {
				nest()
			}
			add(text, false)
		case s[i] == '.':
			add(text, false)
			text = ""
		case s[i] == '-':
			add(text, false)
			text = ""
			nest()
		case text != "" && isDigit(s[i]) && !isDigit(text[0]):
			if len(list.items) > 0 {
				nest()
			}
			add(text, true)
			nest()
			text = s[i : i+1]
		case text != "" && !isDigit(s[i]) && isDigit(text[0]):
			add(text, false)
			nest()
			text = s[i : i+1]
		default:
			text += s[i : i+1]
		}
	}
	top.normalize()
	return top
}

// refMavenWord returns what words are compared by.
func refMavenWord(word string) string {
	place := slices.Index([]string{"alpha", "beta", "milestone", "rc", "snapshot", "", "sp"}, word)
	if place < 0 {
		return "7-" + word
	}
	return string(rune('0' + place))
}

// againstNothing compares an item with the end of a list.
func (x refItem) againstNothing() int {
	switch {
	case x.number != nil:
		return x.number.Sign()
	case x.list == nil:
		return strings.Compare(refMavenWord(x.word), refMavenWord(""))
	}
	for _, inner := range x.list.items {
		if c := inner.againstNothing(); c != 0 {
			return c
		}
	}
	return 0
}

// class orders items of different kinds.
func (x refItem) class() int {
	switch {
	case x.number != nil:
		return 2
	case x.list != nil:
		return 1
	}
	return 0
}

func (x refItem) compare(y refItem) int {
	switch {
	case x.class() != y.class():
		return sign(x.class() - y.class())
	case x.number != nil:
		return x.number.Cmp(y.number)
	case x.list != nil:
		return x.list.compare(y.list)
	}
	return strings.Compare(refMavenWord(x.word), refMavenWord(y.word))
}

func (l *refList) compare(m *refList) int {
	for i := range max(len(l.items), len(m.items)) {
		var c int
		switch {
		case i >= len(l.items):
			c = -m.items[i].againstNothing()
		case i >= len(m.items):
			c = l.items[i].againstNothing()
		default:
			c = l.items[i].compare(m.items[i])
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// refMavenLiteral says what Maven says.
func refMavenLiteral(a, b string) int { return refMaven(a).compare(refMaven(b)) }

// refMavenShared returns the version that both of two versions go on from.
func refMavenShared(a, b string) string { return refShared(refMaven(a), refMaven(b)) }

func refShared(l, m *refList) string {
	s := ""
	for i := range min(len(l.items), len(m.items)) {
		x, y := l.items[i], m.items[i]
		switch {
		case x.list != nil && y.list != nil:
			return s + "-" + refShared(x.list, y.list)
		case x.class() != y.class() || x.compare(y) != 0:
			return s
		case x.number != nil:
			s += x.number.String() + "."
		case x.word == "":
			s += "ga."
		default:
			s += x.word + "."
		}
	}
	return s
}

// refMavenCompare says what Maven says, except that where Maven puts one version before, the other after
// the one they share, that is how the two are ordered.
func refMavenCompare(a, b string) int {
	shared := refMavenShared(a, b)
	before, after := refMavenLiteral(a, shared), refMavenLiteral(shared, b)
	if before == after && before != 0 {
		return before
	}
	return refMavenLiteral(a, b)
}
