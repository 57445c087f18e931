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
	if err == nil && (len(key) < 2 || len(key) > len(s)+len(s)/2+8) {
		t.Errorf("%q: key of %d bytes", s, len(key))
	}
	return key, err == nil
}
