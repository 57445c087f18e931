package version

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func FuzzDpkg(f *testing.F) {
	fuzzScheme(f, Dpkg, " 1:1.0~rc1+dfsg-1ubuntu0.1\n", "1.0-", "1:1.12_1.12.6-1", "0:1:1-1")
}

func FuzzRPM(f *testing.F) { fuzzScheme(f, RPM, ":1^1~1-1.module+el8", "(none):1-1", "1a.b_c%{}-1") }

func FuzzAPK(f *testing.F) { fuzzScheme(f, APK, "1.02.0_git1_p~0af-r1", "1.18.-r2", "6.6.4p1-r1") }

func FuzzSemver(f *testing.F) {
	fuzzScheme(f, Semver, "1.0.0-rc.1.x-y+b.0-1", "01.0.0", "v1.0.0", "1.0.0-01")
}

func FuzzNPM(f *testing.F) { fuzzScheme(f, NPM, " =v1.02.3beta.01\n", "1.2.34.5", "1.2.3-", "1.2.30-") }

func FuzzGo(f *testing.F) {
	fuzzScheme(f, Go, "v2.0.0+incompatible", "go1.21rc2", "go1.21.3-vendor", "v1", "(devel)", "1.21.0-rc.2")
}

func FuzzPyPI(f *testing.F) {
	fuzzScheme(f, PyPI, " v1!1.0-ALPHA.1.post-2.dev3+ubuntu.1\n", "1.0-1", "2004d", "1.0a..post1", "1.0.dev")
}

func FuzzMaven(f *testing.F) {
	fuzzScheme(f, Maven, "1.0.0.Final-redhat-00001", "1.foo.2", "1-ga-rc", "1--alpha", "1-rc", "${revision}", "1.0.alpha-1")
}

func FuzzRubyGems(f *testing.F) {
	fuzzScheme(f, RubyGems, " 1.0.a1.0-x86.mingw32\n", "1.0-", "1-1--a", "1.a.0.0.b")
}

func FuzzNuGet(f *testing.F) {
	fuzzScheme(f, NuGet, " 01.2.3.4-Beta.20240102030405+sha\n", "1.0--5", "2147483648", "1.0-01")
}

func FuzzPackagist(f *testing.F) {
	fuzzScheme(f, Packagist, " v1.0_RC.1-dev+b\n", "2020-01-02-03", "1.x-dev", "dev-main", "1.0-Stable1", "2020010203040506789")
}

// keyGrowth is how much longer than the version, in percent, a key may be beyond 8 bytes.
func keyGrowth(scheme Scheme) int {
	if scheme == Maven {
		return 100
	}
	return 50
}

// fuzzScheme holds a scheme to its reference over any two strings: the same are versions, and they
// come in the same order.
func fuzzScheme(f *testing.F, scheme Scheme, seeds ...string) {
	seeds = append(seeds, goldenVersions[scheme]...)
	for i, s := range seeds {
		f.Add(s, seeds[(i+1)%len(seeds)])
	}
	p := seeded(1)
	for range 50 {
		f.Add(grammars[scheme].pair(p))
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		keyA, okA := fuzzKey(t, scheme, a)
		keyB, okB := fuzzKey(t, scheme, b)
		if !okA || !okB {
			return
		}
		want := references[scheme].compare(a, b)
		if got := bytes.Compare(keyA, keyB); got != want {
			t.Errorf("keys %x and %x of %q and %q: %+d, the reference says %+d", keyA, keyB, a, b, got, want)
		}
		if got, err := Compare(scheme, a, b); got != want || err != nil {
			t.Errorf("Compare(%q, %q) is %+d, %v; the reference says %+d", a, b, got, err, want)
		}
		// The one way in which a key may go on where another ends is a release that only one of two rpm versions has.
		if want < 0 && bytes.HasPrefix(keyB, keyA) && (scheme != RPM || strings.Contains(a, "-")) {
			t.Errorf("key %x of %q begins key %x of %q", keyA, a, keyB, b)
		}
	})
}

// fuzzKey returns the key of s, and whether s is a version.
func fuzzKey(t *testing.T, scheme Scheme, s string) ([]byte, bool) {
	key, err := Key(scheme, s)
	valid := len(s) <= MaxLength && references[scheme].valid(s)
	if valid != (err == nil) {
		t.Errorf("%q: %v, the reference says valid: %t", s, err, valid)
	}
	var parse *ParseError
	if err != nil && (!errors.As(err, &parse) || parse.Offset < 0 || parse.Offset > len(s) || parse.Version != s) {
		t.Errorf("%q: odd error %#v", s, err)
	}
	if err == nil && (len(key) < 1 || len(key) > len(s)+len(s)*keyGrowth(scheme)/100+8) {
		t.Errorf("%q: key of %d bytes", s, len(key))
	}
	return key, err == nil
}
