package version

import "strings"

func isDigit(c byte) bool { return c-'0' < 10 }

func isLower(c byte) bool { return c-'a' < 26 }

func isLetter(c byte) bool { return (c|0x20)-'a' < 26 }

func isSpace(c byte) bool { return c == ' ' || c-'\t' < 5 }

// lower returns a letter of ASCII in lower case, and any other character as it is.
func lower(c byte) byte {
	if c-'A' < 26 {
		return c | 0x20
	}
	return c
}

// trimSpace returns where s starts and ends without the white space of C's isspace around it.
func trimSpace(s string) (start, end int) {
	end = len(s)
	for start < end && isSpace(s[start]) {
		start++
	}
	for end > start && isSpace(s[end-1]) {
		end--
	}
	return start, end
}

// hasFold reports whether a word of ASCII stands at i in s, in whatever case.
func hasFold(s string, i int, word string) bool {
	return i >= 0 && i+len(word) <= len(s) && strings.EqualFold(s[i:i+len(word)], word)
}
