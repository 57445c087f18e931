package version

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/osv-scalibr/semantic"
)

// The comparators of osv-scalibr are another reading of the same rules, and so a further oracle.

var scalibrEcosystem = map[Scheme]string{Dpkg: "Debian", RPM: "Red Hat", APK: "Alpine"}

func TestScalibr(t *testing.T) {
	for _, scheme := range Schemes() {
		t.Run(string(scheme), func(t *testing.T) {
			pairs, _ := drawPairs(t, scheme, tool{}, 7, 5000)
			asked := 0
			for _, p := range pairs {
				a, b := p[0], p[1]
				if scheme == APK && !scalibrReadsAPK(a, b) {
					continue
				}
				asked++
				want := scalibrOrder(t, scheme, a, b)
				if got := string("<=>"[compare(t, scheme, a, b)+1]); got != want {
					t.Errorf("%s %s %s; scalibr says %s", a, got, b, want)
				}
			}
			if asked < 500 {
				t.Errorf("asked about %d pairs only", asked)
			}
		})
	}
}

var bareSuffix = regexp.MustCompile(`_[a-z]+([^a-z0-9]|$)`)

// scalibrReadsAPK reports whether two versions lie outside the differences that apkDifferences lists:
// as many components, no hashes, no suffix without number, no missing revision.
func scalibrReadsAPK(a, b string) bool {
	both := a + " " + b
	return strings.Count(a, ".") == strings.Count(b, ".") && strings.Count(both, "-r") == 2 &&
		!strings.Contains(both, "~") && !bareSuffix.MatchString(both)
}

// scalibrOrder returns what osv-scalibr says of two versions: "<", "=" or ">".
func scalibrOrder(t *testing.T, scheme Scheme, a, b string) string {
	t.Helper()
	v, err := semantic.Parse(a, scalibrEcosystem[scheme])
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.CompareStr(b)
	if err != nil {
		t.Fatal(err)
	}
	return string("<=>"[sign(c)+1])
}
