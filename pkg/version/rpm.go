package version

import "strings"

// Versions of rpm packages: [epoch:]version[-release], "EVR".
//
// The order is that of rpm-version(7) as rpm 4.18 carries it out (rpmio/rpmvercmp.c, rpmio/rpmver.c:
// rpmverCmp). Epoch, version and release decide in turn. Within one of them, words (runs of letters)
// and numbers are compared one after the other, whatever separates them: at any place
//
//	~  <  the end  <  ^  <  a word  <  a number
//
// with words in the order of their bytes and numbers in that of their values: 1.0~rc1 < 1.0 <
// 1.0^git1 < 1.0.a < 1.0.1, and 1.0 = 1_00.
//
// A version without epoch has epoch 0, also where the colon stands alone. A version without release
// comes before the same version with any release, as rpmverCmp has it; a range that says "before
// 1.2" does therefore not hold 1.2-3, and one that says "from 1.2" does. (Dependencies of rpm
// packages ignore a release that one side lacks; that relation is not an order.)
//
// A version is valid when rpmbuild would take it for the tags Epoch, Version and Release
// (build/parsePreamble.c): letters, digits and . _ + ~ ^ % { } of ASCII, neither part empty. Whatever
// rpm itself would make of other strings, such as "(none):1.0-1" and "openssl-1.0-1", they come from
// a mistake and are refused.

// The codes of an rpm key beside those of numbers, which are 0x7c … 0xfe, and letters, which are
// their own ASCII. A word runs on for as long as letters follow, hence the break before a word or
// number that comes next: it lets the shorter word be the lesser.
const (
	rpmNumbers = 0x7c
	rpmTilde   = 0x01
	rpmEnd     = 0x02
	rpmCaret   = 0x03
	rpmBreak   = 0x04
)

func appendRPM(dst []byte, s string) ([]byte, error) {
	epoch, version := "", 0
	if i := digitsEnd(s, 0); i < len(s) && s[i] == ':' {
		epoch, version = s[:i], i+1
	}
	versionEnd, release := len(s), -1
	if hyphen := strings.IndexByte(s[version:], '-'); hyphen >= 0 {
		versionEnd, release = version+hyphen, version+hyphen+1
		if release == len(s) {
			return dst, reject(RPM, s, release, "release is empty")
		}
	}
	if version == versionEnd {
		return dst, reject(RPM, s, version, "version is empty")
	}
	dst = appendNumber(dst, rpmNumbers, epoch)
	dst, bad := appendRPMPart(dst, s[version:versionEnd])
	if bad >= 0 {
		return dst, reject(RPM, s, version+bad, "character not allowed")
	}
	if release < 0 {
		return dst, nil
	}
	dst, bad = appendRPMPart(dst, s[release:])
	if bad >= 0 {
		return dst, reject(RPM, s, release+bad, "character not allowed")
	}
	return dst, nil
}

// appendRPMPart appends a version or a release, and returns the offset of the first character that
// may not stand in one, or -1.
func appendRPMPart(dst []byte, s string) ([]byte, int) {
	afterWord := false
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case isDigit(c):
			number := i
			i = digitsEnd(s, i)
			if afterWord {
				dst = append(dst, rpmBreak)
			}
			dst = appendNumber(dst, rpmNumbers, s[number:i])
			afterWord = false
		case isLetter(c):
			if afterWord {
				dst = append(dst, rpmBreak)
			}
			for ; i < len(s) && isLetter(s[i]); i++ {
				dst = append(dst, s[i])
			}
			afterWord = true
		case c == '~':
			dst = append(dst, rpmTilde)
			afterWord = false
			i++
		case c == '^':
			dst = append(dst, rpmCaret)
			afterWord = false
			i++
		case isRPMSeparator(c):
			i++
		default:
			return dst, i
		}
	}
	return append(dst, rpmEnd), -1
}

func isRPMSeparator(c byte) bool {
	switch c {
	case '.', '_', '+', '%', '{', '}':
		return true
	}
	return false
}
