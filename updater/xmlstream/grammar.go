package xmlstream

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// chars is text, held or passing.
type chars interface{ ~string | ~[]byte }

// attribute is one of a tag, its value as it stands in the document.
type attribute[S chars] struct{ name, value S }

// nextAttribute cuts the first attribute off the rest of a tag; there is none if it is not ok.
func nextAttribute[S chars](rest *S) (a attribute[S], ok bool, err error) {
	s := *rest
	i := spaces(s, 0)
	if i == len(s) {
		return a, false, nil
	}
	n := nameLength(s[i:])
	a.name = s[i : i+n]
	i = spaces(s, i+n)
	if !isName(a.name) || i == len(s) || s[i] != '=' {
		return a, false, errors.New("attribute without a name or a value")
	}
	i = spaces(s, i+1)
	if i == len(s) || (s[i] != '"' && s[i] != '\'') {
		return a, false, fmt.Errorf("attribute %s: no quote before its value", a.name)
	}
	quote, begin := s[i], i+1
	for i = begin; i < len(s) && s[i] != quote; i++ {
		if s[i] == '<' {
			return a, false, fmt.Errorf("attribute %s: < in its value", a.name)
		}
	}
	if i == len(s) {
		return a, false, fmt.Errorf("attribute %s: no quote behind its value", a.name)
	}
	a.value = s[begin:i]
	*rest = s[i+1:]
	return a, true, nil
}

// spaces returns where s goes on behind white space.
func spaces[S chars](s S, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func trimSpace(s []byte) []byte { return bytes.Trim(s, " \n\t\r") }

// nameLength returns the length of the name at the start of s, 0 for none. Every character that is not of ASCII is
// taken for one of a name; XML names most of them.
func nameLength[S chars](s S) int {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == ':' || c >= utf8.RuneSelf
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '.') {
			return i
		}
	}
	return len(s)
}

// isName reports whether s is a name, of which at most one colon parts the namespace (Namespaces in XML 1.0, section 3).
func isName[S chars](s S) bool {
	colons := 0
	for i := range len(s) {
		if s[i] == ':' {
			colons++
		}
	}
	return len(s) > 0 && nameLength(s) == len(s) && colons <= 1
}

// localName returns a name without its namespace prefix.
func localName[S chars](name S) S {
	for i := 1; i < len(name)-1; i++ {
		if name[i] == ':' {
			return name[i+1:]
		}
	}
	return name
}

// appendText appends text with its references resolved.
func appendText[S chars](dst []byte, s S) ([]byte, error) {
	for {
		amp := 0
		for amp < len(s) && s[amp] != '&' {
			amp++
		}
		dst = appendLines(dst, s[:amp])
		if amp == len(s) {
			return dst, nil
		}
		s = s[amp+1:]
		end := 0
		for end < len(s) && s[end] != ';' && end < longestReference {
			end++
		}
		if end == len(s) || s[end] != ';' {
			return dst, errors.New("& that begins no reference")
		}
		r, err := resolve(string(s[:end]))
		if err != nil {
			return dst, err
		}
		dst = utf8.AppendRune(dst, r)
		s = s[end+1:]
	}
}

// longestReference is how long the name in a reference may be: "#x0010ffff" and some zeros.
const longestReference = 16

// entities are those that every document has, XML 1.0 section 4.6.
var entities = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "apos": '\'', "quot": '"'}

// resolve returns the character that a reference stands for.
func resolve(name string) (rune, error) {
	if r, ok := entities[name]; ok {
		return r, nil
	}
	digits, base := "", 10
	if len(name) > 1 && name[0] == '#' {
		digits = name[1:]
		if digits[0] == 'x' {
			digits, base = digits[1:], 16
		}
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !isCharacter(rune(n)) {
		return 0, fmt.Errorf("reference &%s; is to no character", name)
	}
	return rune(n), nil
}

// isCharacter reports whether a document may have the character, XML 1.0 section 2.2.
func isCharacter(r rune) bool {
	if r < ' ' {
		return r == '\t' || r == '\n' || r == '\r'
	}
	return utf8.ValidRune(r) && r != 0xfffe && r != 0xffff
}

// appendLines appends text with its line ends made one character each, XML 1.0 section 2.11.
func appendLines[S chars](dst []byte, s S) []byte {
	start := 0
	for i := range len(s) {
		if s[i] != '\r' {
			continue
		}
		dst = append(append(dst, s[start:i]...), '\n')
		start = i + 1
		if start < len(s) && s[start] == '\n' {
			start++
		}
	}
	return append(dst, s[start:]...)
}
