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

var scalibrEcosystem = map[Scheme]string{
	Dpkg: "Debian", RPM: "Red Hat", APK: "Alpine", Semver: "crates.io", NPM: "npm", Go: "Go", PyPI: "PyPI",
	Maven: "Maven", RubyGems: "RubyGems", NuGet: "NuGet", Packagist: "Packagist",
}

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
				if r := scalibrApart[scheme]; r != nil && r.MatchString(a+" "+b) {
					continue
				}
				asked++
				want := scalibrOrder(t, scheme, scalibrForm(scheme, a), scalibrForm(scheme, b))
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
	wrong   int // facts that are none, all of the form that scalibrWrong has
}{
	{"alpine-versions.txt", APK, 37, 0},           // 0..1 and 1-r, which apk-tools 3.0 refuses
	{"alpine-versions-generated.txt", APK, 58, 0}, // 5.1p1-r0 and the like
	{"debian-versions.txt", Dpkg, 0, 0},
	{"debian-versions-generated.txt", Dpkg, 0, 0},
	{"redhat-versions.txt", RPM, 37, 0},    // a:1, 1-:1, and Greek
	{"semver-versions.txt", Semver, 31, 0}, // v1.2.3, and less or more than three numbers
	{"semver-versions.txt", NPM, 3, 0},     // numbers above 2^53-1; 1.1.3.4.5
	{"semver-versions.txt", Go, 1, 0},      // 1.1.3.4.5
	{"pypi-versions.txt", PyPI, 12, 0},     // 0.9-doduo and other versions from before the specification
	{"pypi-versions-generated.txt", PyPI, 69, 0},
	{"maven-versions.txt", Maven, 1, 1},
	{"maven-versions-generated.txt", Maven, 0, 18},
	{"rubygems-versions.txt", RubyGems, 2, 0}, // 1beta
	{"rubygems-versions-generated.txt", RubyGems, 0, 0},
	{"nuget-versions.txt", NuGet, 2, 0},         // numbers above 2^31-1
	{"packagist-versions.txt", Packagist, 9, 1}, // dev-foo, and what version_compare of PHP takes and Composer does not
	{"packagist-versions-generated.txt", Packagist, 18, 10},
}

// scalibrWrong matches the facts that are none: those of Maven before 3.9.1, in which a dot before a
// word did not mean what a hyphen does, and of version_compare without Composer's normal form.
var scalibrWrong = map[Scheme]*regexp.Regexp{
	Maven:     regexp.MustCompile(`(?i)\.(rc|sec|beta)[0-9]|-ga-`),
	Packagist: regexp.MustCompile(`(?i)[0-9] .*-(alpha|beta)|1\.0$|4-beta|-(ALPHA|BETA)\.|-stable`),
}

func TestScalibrCorpora(t *testing.T) {
	dir := firstLine(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr")
	for _, corpus := range scalibrCorpora {
		name := filepath.Join(dir, "semantic", "testdata", corpus.file)
		if _, err := os.Stat(name); err != nil {
			t.Skipf("SKIPPED: osv-scalibr is here without its tests: %v", err)
		}
		facts, invalid, wrong := 0, 0, 0
		for _, line := range readLines(t, name) {
			fact, _, _ := strings.Cut(line, "#")
			f := strings.Fields(fact)
			if len(f) != 3 {
				continue
			}
			facts++
			c, err := Compare(corpus.scheme, f[0], f[2])
			if err != nil {
				invalid++
				continue
			}
			if r := scalibrWrong[corpus.scheme]; r != nil && r.MatchString(strings.TrimSpace(fact)) && string("<=>"[c+1]) != f[1] {
				wrong++
				continue
			}
			checkFact(t, corpus.scheme, fact)
		}
		if facts == 0 || invalid != corpus.invalid || wrong != corpus.wrong {
			t.Errorf("%s: of %d facts %d are about what is no version, want %d, and %d wrong, want %d",
				corpus.file, facts, invalid, corpus.invalid, wrong, corpus.wrong)
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
