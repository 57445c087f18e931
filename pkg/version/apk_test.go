package version

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// apkDifferences are the points in which others do not follow apk-tools 3.0, which this package does.
// An empty verdict stands for "as apk-tools 3.0"; "?" for versions that a program does not accept.
var apkDifferences = []struct {
	fact    string // of apk-tools 3.0
	scalibr string // what osv-scalibr v0.5.3 says instead
	apk2    string // what apk-tools 2.14.4 says instead
	reason  string
}{
	{"1.0 < 1.0-r0", "=", "", "scalibr takes a missing revision for -r0"},
	{"1.0 < 1.0.0", "=", "", "scalibr takes missing components for 0"},
	{"1 < 1.00", "=", "", "and compares the texts 0 and 00 only when both are there"},
	{"1.0_p < 1.0_p0", "=", "", "scalibr takes the missing number of a suffix for 0"},
	{"1.0_rc1 < 1.0_rc_p", ">", "", "and therefore compares 0 with 1 where apk compares a suffix with a number"},
	{"1.0~a < 1.0~b", "=", "?", "scalibr leaves hashes out; apk-tools 2 has none"},
	{"1.0 < 1.0~a", "=", "?", "the same"},
	{"1.0-r1 < 1.0~a", ">", "?", "the same, and what is left is a missing revision, for scalibr -r0"},
	{"1.0a < 1.0.0", ">", "", "scalibr compares letters after all components, the missing ones being 0"},
	{"1.0_p1 < 1.0.0", ">", "", "scalibr compares suffixes after all components, the missing ones being 0"},
	{"1.0_rc1 < 1.0.0-r0", "", "", "here the same makes no difference"},
	{"1.0 < 1.00", "", ">", "apk-tools 2: the more zeros, the less"},
	{"1.0015 < 1.002", "", ">", "apk-tools 2: by number of zeros, then by value of what follows"},
}

func TestAPKDifferences(t *testing.T) {
	for _, d := range apkDifferences {
		f := strings.Fields(d.fact)
		checkFact(t, APK, d.fact)
		want := d.scalibr
		if want == "" {
			want = f[1]
		}
		if got := scalibrOrder(t, APK, f[0], f[2]); got != want {
			t.Errorf("%s: scalibr says %s, the table %s (%s)", d.fact, got, want, d.reason)
		}
	}
}

func TestAPK2Differences(t *testing.T) {
	program := apk2Tool(t)
	for _, d := range apkDifferences {
		f := strings.Fields(d.fact)
		want := d.apk2
		if want == "" {
			want = f[1]
		}
		got := "?"
		if program.valid(t, f[0]) && program.valid(t, f[2]) {
			got = program.order(t, [][2]string{{f[0], f[2]}})[0]
		}
		if got != want {
			t.Errorf("%s: %s says %s, the table %s (%s)", d.fact, program.name, got, want, d.reason)
		}
	}
}

// apk2Apart matches what apk-tools 2.14 and 3.0 may differ about.
var apk2Apart = regexp.MustCompile(`~|\.0[0-9]|[0-9]{10}`)

func apk2Alike(a, b string) bool { return !apk2Apart.MatchString(a + " " + b) }

// TestAPK2 asks the apk of a real image about pairs that no run drew before.
func TestAPK2(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tool")
	}
	program := apk2Tool(t)
	seed := uint64(time.Now().UnixNano())
	drawn, _ := drawPairs(t, APK, tool{}, seed, 1000)
	var pairs [][2]string
	for _, p := range drawn {
		if apk2Alike(p[0], p[1]) {
			pairs = append(pairs, p)
		}
	}
	for i, op := range program.order(t, pairs) {
		checkFact(t, APK, pairs[i][0]+" "+op+" "+pairs[i][1])
	}
	if t.Failed() {
		t.Logf("drawn with seed %d; stated by %s", seed, program.name)
	}
}
