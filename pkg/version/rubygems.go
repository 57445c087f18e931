package version

// Versions of Ruby gems: number{.segment}…[-segment{.segment}…].
//
// The order is that of Gem::Version (rubygems/version.rb). A version is a list of numbers and words,
// which a dot or a change from digits to letters or back divides; a hyphen counts as the word "pre". Zeros
// before the first word and at the end are left out. Then versions are compared place by place, as if
// the shorter one had zeros without end: words before numbers, words by the bytes of ASCII, numbers by
// value. So 1.a < 1.0.b < 1 = 1.0 < 1.0.1, and 1-1 = 1.pre.1 < 1.
//
// So it is in RubyGems 3.3. By its comments, so it is meant in 3.6, whose regular expression for the zeros
// before the first word finds those before a later one if the first has none: 1.a.0.b = 1.a.b there,
// and 1.a.0.b < 1.a here and in 3.3. No more than that differs.
//
// A version is valid when Gem::Version.correct? says so and it is not empty. White space around it is
// ignored. A platform, as in the file name nokogiri-1.16.0-java.gem, is no part of a version; whoever
// leaves it there has a pre-release of 1.16.0.

// The codes of a rubygems key beside those of numbers, which are 0x09 … 0x8a, and of letters, which are
// 0xc1 … 0xfa. The end stands for zeros without end, and the code of a zero says on which side of
// these the first segment lies that is not zero and comes after it.
const (
	rubyWordLow  = 0x02 // begins a word before "pre"
	rubyPre      = 0x03 // the word "pre"
	rubyWordHigh = 0x04 // begins a word after "pre"
	rubyZeroLow  = 0x05 // a zero; the next segment that is not zero is a word
	rubyEnd      = 0x06
	rubyZeroHigh = 0x07 // a zero; the next segment that is not zero is a number
	rubyNumbers  = 0x08
	rubyLetter   = 0x80 // or-ed to the letter
)

func appendRubyGems(dst []byte, s string) ([]byte, error) {
	if reason, offset := wrongGem(s); reason != "" {
		return dst, reject(RubyGems, s, offset, reason)
	}
	kept := len(dst) // from here on, dst has zeros only
	words := false   // one has come
	for i := 0; i < len(s); {
		segment := i
		switch c := s[i]; {
		case isDigit(c):
			i = digitsEnd(s, i)
			if !above(s[segment:i], 0) {
				dst = append(dst, rubyZeroHigh)
				continue
			}
			dst = appendNumber(dst, rubyNumbers, s[segment:i])
		case c == '.':
			i++
			continue
		default:
			i = lettersEnd(s, i)
			if !words {
				dst = dst[:kept]
			}
			for j := kept; j < len(dst); j++ {
				dst[j] = rubyZeroLow
			}
			words = true
			if c == '-' {
				i++
			}
			dst = appendGemWord(dst, s[segment:i])
		}
		kept = len(dst)
	}
	return append(dst[:kept], rubyEnd), nil
}

// appendGemWord appends a word, or the hyphen.
func appendGemWord(dst []byte, word string) []byte {
	switch {
	case word == "-" || word == "pre":
		return append(dst, rubyPre)
	case word < "pre":
		dst = append(dst, rubyWordLow)
	default:
		dst = append(dst, rubyWordHigh)
	}
	for i := range len(word) {
		dst = append(dst, word[i]|rubyLetter)
	}
	return dst
}

// wrongGem returns what keeps a string from being a version, and where, or nothing.
func wrongGem(s string) (reason string, offset int) {
	i := digitsEnd(s, 0)
	if i == 0 {
		return "no number", 0
	}
	for hyphen := false; i < len(s); {
		separator := s[i]
		if separator != '.' && (separator != '-' || hyphen) {
			return "character not allowed", i
		}
		hyphen = hyphen || separator == '-'
		segment := i + 1
		for i = segment; i < len(s) && (isDigit(s[i]) || isLetter(s[i]) || hyphen && s[i] == '-'); {
			i++
		}
		if i == segment {
			return "segment is empty", i
		}
	}
	return "", 0
}

// lettersEnd returns the end of the run of letters that starts at i.
func lettersEnd(s string, i int) int {
	for i < len(s) && isLetter(s[i]) {
		i++
	}
	return i
}
