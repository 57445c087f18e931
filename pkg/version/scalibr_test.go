package version

import (
	"os"
	"path/filepath"
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

// scalibrCorpora are files of facts among the tests of osv-scalibr, many of them from the package
// managers' own tests, with the number of facts about strings that are no versions.
var scalibrCorpora = []struct {
	file    string
	scheme  Scheme
	invalid int
}{
	{"alpine-versions.txt", APK, 37},           // 0..1 and 1-r, which apk-tools 3.0 refuses
	{"alpine-versions-generated.txt", APK, 58}, // 5.1p1-r0 and the like
	{"debian-versions.txt", Dpkg, 0},
	{"debian-versions-generated.txt", Dpkg, 0},
	{"redhat-versions.txt", RPM, 37}, // a:1, 1-:1, and Greek
}

func TestScalibrCorpora(t *testing.T) {
	dir := firstLine(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr")
	for _, corpus := range scalibrCorpora {
		name := filepath.Join(dir, "semantic", "testdata", corpus.file)
		if _, err := os.Stat(name); err != nil {
			t.Skipf("SKIPPED: osv-scalibr is here without its tests: %v", err)
		}
		facts, invalid := 0, 0
		for _, line := range readLines(t, name) {
			fact, _, _ := strings.Cut(line, "#")
			f := strings.Fields(fact)
			if len(f) != 3 {
				continue
			}
			facts++
			if _, err := Compare(corpus.scheme, f[0], f[2]); err != nil {
				invalid++
				continue
			}
			checkFact(t, corpus.scheme, fact)
		}
		if facts == 0 || invalid != corpus.invalid {
			t.Errorf("%s: %d of %d facts are about what is no version, want %d", corpus.file, invalid, facts, corpus.invalid)
		}
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
