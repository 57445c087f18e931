package version

import (
	"math/rand/v2"
	"strings"

	"pgregory.net/rapid"
)

// picker draws a number from 0 to n-1. The grammars below are written over it, so that the same
// versions can be drawn by rapid (which shrinks them) and by a seeded generator (for corpora).
type picker func(n int) int

func seeded(seed uint64) picker {
	return rand.New(rand.NewPCG(seed, 0)).IntN
}

func drawn(t *rapid.T) picker {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
}

func (p picker) of(choices ...string) string { return choices[p(len(choices))] }

// chance is true in one case of n.
func (p picker) chance(n int) bool { return p(n) == 0 }

// number draws a run of digits: usual ones, and those at the edges of the codes of keys.
func (p picker) number() string {
	if p.chance(200) {
		return strings.Repeat(p.of("9", "1", "0"), 118+p(8))
	}
	if p.chance(16) {
		return p.of("00", "01", "007", "010", "0000", "121", "122", "377", "378", "65657", "65658",
			"20230914", "20191002222144", "4294967296", "9999999999999999999", "10000000000000000000",
			"18446744073709551615", "18446744073709551616", "000018446744073709551617")
	}
	return p.of("0", "1", "2", "3", "9", "10", "11", "20", "99", "100")
}

// dotted draws numbers with dots between them.
func (p picker) dotted() string {
	s := p.number()
	for range p(4) {
		s += "." + p.number()
	}
	return s
}

// mutated returns s with one character taken out, put in or replaced.
func (p picker) mutated(s, alphabet string) string {
	i := p(len(s) + 1)
	c := string(alphabet[p(len(alphabet))])
	switch {
	case i == len(s) || p.chance(3):
		return s[:i] + c + s[i:]
	case p.chance(2):
		return s[:i] + s[i+1:]
	default:
		return s[:i] + c + s[i+1:]
	}
}

// grammar draws the versions of one scheme.
type grammar struct {
	version  func(picker) string
	alphabet string // what mutations are made of
}

var grammars = map[Scheme]grammar{
	Dpkg: {dpkgVersion, "0012.~+-:abzAZ"},
	RPM:  {rpmVersion, "0012._~^+-:abzAZ"},
	APK:  {apkVersion, "0012._-~abpr"},

	Semver:    {semverVersion, "0012.-+abzAZ"},
	NPM:       {npmVersion, "0012.-+v=abzAZ"},
	Go:        {goVersion, "0012.-+vgorcb"},
	PyPI:      {pypiVersion, "0012.-_+!vabcrABdepost"},
	Maven:     {mavenVersion, "0012.-._abmrcxga+"},
	RubyGems:  {gemVersion, "0012..-abprezA"},
	NuGet:     {nugetVersion, "0012.-+abzAZ"},
	Packagist: {packagistVersion, "0012.-_+:vxabprdev"},
}

// pair draws two versions that lie close together more often than not. They may be invalid.
func (g grammar) pair(p picker) (a, b string) {
	a = g.version(p)
	switch p(8) {
	case 0:
		return a, a
	case 1, 2, 3:
		return a, g.mutated(p, a)
	case 4, 5:
		return a, g.mutated(p, g.mutated(p, a))
	}
	return a, g.version(p)
}

func (g grammar) mutated(p picker, s string) string { return p.mutated(s, g.alphabet) }

func dpkgVersion(p picker) string {
	s := p.dotted()
	if p.chance(4) {
		s = p.of("0:", "1:", "2:", "01:", "10:", "123:") + s
	}
	for range p(3) {
		s += p.of("~rc", "~", "~~", "+dfsg", "+", "+ds.", "+git", "a", "b.", ".", "-", "+really", "pre", "Z", ":")
		s += p.of("", p.number())
	}
	if !p.chance(3) {
		s += "-" + p.of(p.number(), p.of("~", "+", "a", "")+p.dotted())
		s += p.of("", "", "+b1", "+deb12u"+p.number(), "ubuntu"+p.dotted(), "~bpo11+1", "build1", "~", ".")
	}
	return s
}

func rpmVersion(p picker) string {
	s := p.dotted()
	if p.chance(3) {
		s = p.of("0:", "1:", ":", "00:", "32:") + s
	}
	for range p(3) {
		s += p.of("~rc", "~", "^", "^git", "_", ".", "a", "alpha", "B", "+", "..", "~^", "%", "{}", ".x")
		s += p.of("", p.number())
	}
	if !p.chance(4) {
		s += "-" + p.of(p.dotted(), p.of("~", "^", ".", "a", "alt")+p.number())
		s += p.of("", "", ".el"+p.number(), ".el8_"+p.number(), ".fc39", ".module+el8.9.0+1537+e2f4b8b9",
			"~bootstrap", "^post1", ".el9.x", "_1")
	}
	return s
}

func apkVersion(p picker) string {
	s := p.dotted()
	if p.chance(4) {
		s += p.of("a", "b", "r", "z")
	}
	for range max(0, p(5)-2) {
		s += "_" + p.of("alpha", "beta", "pre", "rc", "cvs", "svn", "git", "hg", "p") + p.of("", p.number())
	}
	if p.chance(8) {
		s += "~" + p.of("0", "a", "deadbeef", "0f", "de")
	}
	if p.chance(2) {
		s += "-r" + p.number()
	}
	return s
}
