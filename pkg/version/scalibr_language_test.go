package version

import (
	"regexp"
	"strings"
	"testing"
)

// scalibrApart matches pairs of versions about which osv-scalibr v0.5.3 says something else, as
// scalibrDifferences shows.
var scalibrApart = map[Scheme]*regexp.Regexp{
	Semver:   regexp.MustCompile(`[.-]-[0-9]+([.+ ]|$)`),
	NPM:      regexp.MustCompile(`[.-]-[0-9]+([.+ ]|$)`),
	Go:       regexp.MustCompile(`[.-]-[0-9]+([.+ ]|$)`),
	Maven:    regexp.MustCompile(`(?i)--|\.-|-\.|\.\.|-0+-|ga|final|release|\.[^0-9]|(^| )[^0-9]`),
	RubyGems: regexp.MustCompile(`(^|[^0-9])00|--|-\.|\.-`),
	NuGet:    regexp.MustCompile(`[0-9]{10}`),
}

// scalibrForm brings a version to the form in which osv-scalibr reads it as its ecosystem does.
func scalibrForm(scheme Scheme, s string) string {
	switch scheme {
	case NPM:
		return strings.TrimLeft(s, "v=")
	case Go:
		m := refGoTool.FindStringSubmatch(s)
		if m == nil {
			return s
		}
		for i := 2; i <= 3; i++ {
			if m[i] == "" {
				m[i] = "0"
			}
		}
		return strings.TrimRight(strings.Join(m[1:4], ".")+"-"+m[4]+"."+m[5], "-.")
	case RubyGems:
		return strings.ReplaceAll(s, "-", ".pre.")
	case Packagist:
		return refPackagistNormal(s)
	}
	return s
}

// scalibrDifferences are the points in which osv-scalibr v0.5.3 does not follow the tools.
var scalibrDifferences = []struct {
	scheme  Scheme
	fact    string // of the tool
	scalibr string // what osv-scalibr says instead
	reason  string
}{
	{Semver, "1.0.0-1 < 1.0.0--2", ">", "scalibr takes -2 for a negative number"},
	{NPM, "=1.2.3 = 1.2.3", "<", "scalibr takes no = in front, and reads on from there as if it were a pre-release of nothing"},
	{Go, "1.21.0-rc.2 = go1.21rc2", ">", "scalibr knows no versions of the toolchain"},
	{Maven, "1-ga-1 < 1-1", "=", "so says Maven's specification; Maven 3.9 makes a list in a list of the first"},
	{Maven, "1--1 < 1-1", "=", "the same"},
	{Maven, "6.1.12rc1 < 6.1.12.rc5", ">", "before Maven 3.9.1, a dot before a word did not mean what a hyphen does"},
	{Maven, "1-0-2 < 1-1-2", ">", "scalibr keeps the null before a list in the list"},
	{Maven, "0 < c", ">", "scalibr compares a word with the number 0 where there is nothing"},
	{RubyGems, "1-1 = 1.pre.1", "<", "scalibr takes the hyphen for a word of its own"},
	{RubyGems, "1.00.a = 1.a", ">", "scalibr leaves out zeros only if they have one digit"},
	{NuGet, "1-10000000000 < 1-9999999999", ">", "scalibr compares numbers of any length by value"},
	{Packagist, "1.0 = 1.0.0", "<", "scalibr compares as PHP's version_compare does, without Composer's normal form"},
	{Packagist, "1.0+a = 1.0+b", "<", "the same"},
	{Packagist, "1.0.0-beta < 1.0", ">", "the same"},
	{Packagist, "1.9 < 1.x-dev", ">", "the same"},
}

func TestScalibrDifferences(t *testing.T) {
	for _, d := range scalibrDifferences {
		f := strings.Fields(d.fact)
		checkFact(t, d.scheme, d.fact)
		if got := scalibrOrder(t, d.scheme, f[0], f[2]); got != d.scalibr {
			t.Errorf("%s %s: scalibr says %s, the table %s (%s)", d.scheme, d.fact, got, d.scalibr, d.reason)
		}
	}
}
