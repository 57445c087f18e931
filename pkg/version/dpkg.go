package version

import (
	"strconv"
	"strings"
)

// Versions of Debian packages: [epoch:]upstream-version[-debian-revision].
//
// The order is that of deb-version(7), "Sorting algorithm", as dpkg 1.21 carries it out
// (lib/dpkg/version.c). A version without epoch has epoch 0; one without revision compares as one
// with revision 0, for the missing digits of a part count as zero: 1.0 = 0:1.0 = 1.0-0 = 1.00.
//
// A version is valid when "dpkg --validate-version" says so, which asks what deb-version(7) asks:
// an epoch from 0 to 2147483647, an upstream version that begins with a digit, no part empty, no
// characters but letters, digits and . + - : ~ of ASCII. White space around it is ignored, as dpkg
// does. ("dpkg --compare-versions" goes on, with a warning, where only the first digit or a character
// is wrong. It would also give words such as "unknown" and misspellings such as "1:1.12_1.12.6-1" a
// place in the order; a scanner must not.) One form that dpkg lets through is refused here, a plus
// sign before the epoch.

// The codes of a dpkg key beside those of numbers, which are 0x02 … 0x84. A number ends a run of
// non-digits, and its codes stand where the end of the run does in the order: after the tilde,
// before the letters. The end of a part follows a number, where no number can be.
const (
	dpkgNumbers = 0x02
	dpkgTilde   = 0x01
	dpkgEnd     = 0x02
	dpkgLetter  = 0x80 // or-ed to the letter
	dpkgPlus    = 0xfb // the others, by ASCII
	dpkgHyphen  = 0xfc
	dpkgPeriod  = 0xfd
	dpkgColon   = 0xfe
)

func appendDpkg(dst []byte, s string) ([]byte, error) {
	if s == "" {
		return dst, reject(Dpkg, s, 0, "empty")
	}
	epoch, upstream := "", 0
	if colon := strings.IndexByte(s, ':'); colon >= 0 {
		epoch, upstream = s[:colon], colon+1
		if _, err := strconv.ParseUint(epoch, 10, 31); err != nil {
			return dst, reject(Dpkg, s, 0, "epoch is not a number from 0 to 2147483647")
		}
	}
	upstreamEnd, revision := len(s), len(s)
	if hyphen := strings.LastIndexByte(s[upstream:], '-'); hyphen >= 0 {
		upstreamEnd, revision = upstream+hyphen, upstream+hyphen+1
		if revision == len(s) {
			return dst, reject(Dpkg, s, revision, "revision is empty")
		}
		if i := strings.IndexByte(s[revision:], ':'); i >= 0 {
			return dst, reject(Dpkg, s, revision+i, "colon in the revision")
		}
	}
	if upstream == upstreamEnd {
		return dst, reject(Dpkg, s, upstream, "upstream version is empty")
	}
	if !isDigit(s[upstream]) {
		return dst, reject(Dpkg, s, upstream, "upstream version does not begin with a digit")
	}
	dst = appendNumber(dst, dpkgNumbers, epoch)
	dst, bad := appendDpkgPart(dst, s[upstream:upstreamEnd])
	if bad >= 0 {
		return dst, reject(Dpkg, s, upstream+bad, "character not allowed")
	}
	dst, bad = appendDpkgPart(dst, s[revision:])
	if bad >= 0 {
		return dst, reject(Dpkg, s, revision+bad, "character not allowed")
	}
	return dst, nil
}

// appendDpkgPart appends an upstream version or a revision, and returns the offset of the first
// character that may not stand in one, or -1.
func appendDpkgPart(dst []byte, s string) ([]byte, int) {
	for i := 0; ; {
		for ; i < len(s) && !isDigit(s[i]); i++ {
			code := dpkgCode(s[i])
			if code == 0 {
				return dst, i
			}
			dst = append(dst, code)
		}
		number := i
		i = digitsEnd(s, i)
		dst = appendNumber(dst, dpkgNumbers, s[number:i])
		if i == len(s) {
			return append(dst, dpkgEnd), -1
		}
	}
}

// dpkgCode returns the code of a character of a run of non-digits, or 0 for one not allowed there.
func dpkgCode(c byte) byte {
	if isLetter(c) {
		return dpkgLetter | c
	}
	switch c {
	case '.':
		return dpkgPeriod
	case '+':
		return dpkgPlus
	case '~':
		return dpkgTilde
	case '-':
		return dpkgHyphen
	case ':':
		return dpkgColon
	}
	return 0
}
