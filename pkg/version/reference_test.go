package version

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// The references: comparators and validators written as the manuals say it, with no thought of keys
// or speed. They are the second oracle beside the real tools.

type reference struct {
	valid   func(s string) bool
	compare func(a, b string) int // of valid versions
}

var references = map[Scheme]reference{
	Dpkg: {refDpkgValid, refDpkgCompare},
	RPM:  {refRPMValid.MatchString, refRPMCompare},
	APK:  {refAPKValid.MatchString, refAPKCompare},

	Semver:    {func(s string) bool { return refSemver(s) != nil }, refOf(refSemver, refIsNumber)},
	NPM:       {func(s string) bool { return refNPM(s) != nil }, refOf(refNPM, refIsNumber)},
	Go:        {func(s string) bool { return refGo(s) != nil }, refOf(refGo, refIsNumber)},
	NuGet:     {func(s string) bool { return refNuGet(s) != nil }, refOf(refNuGet, refIsInt32)},
	PyPI:      {func(s string) bool { return refPyPIForm.MatchString(s) }, refPyPICompare},
	Maven:     {refMavenValid.MatchString, refMavenCompare},
	RubyGems:  {refGemValid.MatchString, refGemCompare},
	Packagist: {func(s string) bool { return refPackagistNormal(s) != "" }, refPackagistCompare},
}

func refNumber(digits string) *big.Int {
	n, _ := new(big.Int).SetString("0"+digits, 10)
	return n
}

func sign(n int) int { return min(1, max(-1, n)) }

// deb-version(7).

var refDpkgForm = regexp.MustCompile(
	`^[ \t\n\v\f\r]*(?:([0-9]+):)?([0-9][A-Za-z0-9.+:~-]*?)(?:-([A-Za-z0-9.+~]+))?[ \t\n\v\f\r]*$`)

// refDpkgFields returns epoch, upstream version and revision; found is nil if there is no such form.
func refDpkgFields(s string) (found []string) {
	found = refDpkgForm.FindStringSubmatch(s)
	if found == nil {
		return nil
	}
	return found[1:]
}

func refDpkgValid(s string) bool {
	f := refDpkgFields(s)
	if f == nil || refNumber(f[0]).Cmp(big.NewInt(1<<31-1)) > 0 {
		return false
	}
	if f[0] == "" && strings.Contains(f[1], ":") {
		return false // colons need an epoch
	}
	return f[2] != "" || !strings.Contains(f[1], "-") // and hyphens a revision
}

func refDpkgCompare(a, b string) int {
	fa, fb := refDpkgFields(a), refDpkgFields(b)
	if c := refNumber(fa[0]).Cmp(refNumber(fb[0])); c != 0 {
		return c
	}
	if c := refDpkgPart(fa[1], fb[1]); c != 0 {
		return c
	}
	return refDpkgPart(fa[2], fb[2])
}

// refDpkgPart is the section "Sorting algorithm".
func refDpkgPart(a, b string) int {
	for a != "" || b != "" {
		nonA, restA := refCut(a, false)
		nonB, restB := refCut(b, false)
		for i := range max(len(nonA), len(nonB)) {
			if c := refDpkgWeight(nonA, i) - refDpkgWeight(nonB, i); c != 0 {
				return sign(c)
			}
		}
		var numA, numB string
		numA, a = refCut(restA, true)
		numB, b = refCut(restB, true)
		if c := refNumber(numA).Cmp(refNumber(numB)); c != 0 {
			return c
		}
	}
	return 0
}

// refCut splits off the initial part that consists of digits, or of other characters.
func refCut(s string, digits bool) (part, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return ('0' <= r && r <= '9') != digits })
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

func refDpkgWeight(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case strings.ContainsAny(s[i:i+1], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"):
		return int(s[i])
	}
	return int(s[i]) + 256
}

// rpm-version(7) and the comments of rpmvercmp.c.

var (
	refRPMValid   = regexp.MustCompile(`^(?:[0-9]*:)?[A-Za-z0-9._+~^%{}]+(?:-[A-Za-z0-9._+~^%{}]+)?$`)
	refRPMForm    = regexp.MustCompile(`^(?:([0-9]*):)?([^-]+)(-.*)?$`)
	refRPMSegment = regexp.MustCompile(`[0-9]+|[A-Za-z]+|~|\^`)
)

func refRPMCompare(a, b string) int {
	fa, fb := refRPMForm.FindStringSubmatch(a), refRPMForm.FindStringSubmatch(b)
	if c := refNumber(fa[1]).Cmp(refNumber(fb[1])); c != 0 {
		return c
	}
	if c := refRPMPart(fa[2], fb[2]); c != 0 {
		return c
	}
	if fa[3] == "" || fb[3] == "" {
		return sign(len(fa[3]) - len(fb[3]))
	}
	return refRPMPart(fa[3], fb[3])
}

func refRPMPart(a, b string) int {
	segA, segB := refRPMSegment.FindAllString(a, -1), refRPMSegment.FindAllString(b, -1)
	for i := range max(len(segA), len(segB)) {
		x, y := "", ""
		if i < len(segA) {
			x = segA[i]
		}
		if i < len(segB) {
			y = segB[i]
		}
		if c := refRPMClass(x) - refRPMClass(y); c != 0 {
			return sign(c)
		}
		c := strings.Compare(x, y)
		if x != "" && isDigit(x[0]) {
			c = refNumber(x).Cmp(refNumber(y))
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func refRPMClass(segment string) int {
	switch {
	case segment == "~":
		return 0
	case segment == "":
		return 1
	case segment == "^":
		return 2
	case segment[0] > '9':
		return 3
	}
	return 4
}

// apk-package(5) and the comments of apk-tools 3.0 version.c.

var (
	refAPKValid = regexp.MustCompile(
		`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(~[0-9a-f]+)?(-r[0-9]+)?$`)
	refAPKTokens = regexp.MustCompile(`^[0-9]+|\.[0-9]+|_[a-z]+|~[0-9a-f]+|-r[0-9]+|[0-9]+|[a-z]`)
)

// refAPKOrder has the kinds of tokens as they sort at one place.
const refAPKOrder = "<$-~#>a."

// refAPKKind returns the kind of the i-th token, as a character of refAPKOrder.
func refAPKKind(tokens []string, i int) byte {
	if i == len(tokens) {
		return '$'
	}
	token := tokens[i]
	switch {
	case token[0] == '_' && refAPKPre(token) >= 0:
		return '<'
	case token[0] == '_':
		return '>'
	case i == 0, token[0] == '.':
		return '.'
	case isDigit(token[0]):
		return '#'
	case isLower(token[0]):
		return 'a'
	}
	return token[0]
}

func refAPKPre(suffix string) int {
	return slices.Index([]string{"_alpha", "_beta", "_pre", "_rc"}, suffix)
}

func refAPKPost(suffix string) int {
	return slices.Index([]string{"_cvs", "_svn", "_git", "_hg", "_p"}, suffix)
}

func refAPKCompare(a, b string) int {
	ta, tb := refAPKTokens.FindAllString(a, -1), refAPKTokens.FindAllString(b, -1)
	for i := 0; ; i++ {
		ka, kb := refAPKKind(ta, i), refAPKKind(tb, i)
		if ka != kb {
			return sign(strings.IndexByte(refAPKOrder, ka) - strings.IndexByte(refAPKOrder, kb))
		}
		if ka == '$' {
			return 0
		}
		if c := refAPKToken(i, ka, ta[i], tb[i]); c != 0 {
			return c
		}
	}
}

func refAPKToken(i int, kind byte, x, y string) int {
	switch kind {
	case '<':
		return sign(refAPKPre(x) - refAPKPre(y))
	case '>':
		return sign(refAPKPost(x) - refAPKPost(y))
	case '~', 'a':
		return strings.Compare(x, y)
	case '.':
		x, y = strings.TrimPrefix(x, "."), strings.TrimPrefix(y, ".")
		if i > 0 && (x[0] == '0' || y[0] == '0') {
			return strings.Compare(x, y)
		}
	}
	return refNumber(strings.TrimPrefix(x, "-r")).Cmp(refNumber(strings.TrimPrefix(y, "-r")))
}
