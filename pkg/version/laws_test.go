package version

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// draw draws a version that can be read.
func draw(t *rapid.T, scheme Scheme, near ...string) string {
	p, g := drawn(t), grammars[scheme]
	for {
		s := g.version(p)
		if len(near) > 0 && !p.chance(3) {
			s = g.mutated(p, near[p(len(near))])
		}
		if references[scheme].valid(s) {
			return s
		}
	}
}

func eachScheme(t *testing.T, check func(t *rapid.T, scheme Scheme)) {
	t.Helper()
	for _, scheme := range Schemes() {
		t.Run(string(scheme), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { check(t, scheme) })
		})
	}
}

func mustCompare(t *rapid.T, scheme Scheme, a, b string) int {
	c, err := Compare(scheme, a, b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrderLaws(t *testing.T) {
	eachScheme(t, func(t *rapid.T, scheme Scheme) {
		a := draw(t, scheme)
		b := draw(t, scheme, a)
		c := draw(t, scheme, a, b)
		ab, bc, ac := mustCompare(t, scheme, a, b), mustCompare(t, scheme, b, c), mustCompare(t, scheme, a, c)
		if mustCompare(t, scheme, a, a) != 0 {
			t.Errorf("%q is not equal to itself", a)
		}
		if ab != -mustCompare(t, scheme, b, a) {
			t.Errorf("%q and %q: one way %+d, the other not the opposite", a, b, ab)
		}
		if ab <= 0 && bc <= 0 && (ac > 0 || ac == 0 && ab+bc < 0) {
			t.Errorf("%q, %q, %q: %+d, %+d, yet %+d", a, b, c, ab, bc, ac)
		}
	})
}

func TestCompareIsOrderOfKeys(t *testing.T) {
	eachScheme(t, func(t *rapid.T, scheme Scheme) {
		a := draw(t, scheme)
		b := draw(t, scheme, a)
		keyA, errA := Key(scheme, a)
		keyB, errB := Key(scheme, b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		want := references[scheme].compare(a, b)
		if got := bytes.Compare(keyA, keyB); got != want {
			t.Errorf("keys of %q and %q: %+d, the reference says %+d", a, b, got, want)
		}
		if got := mustCompare(t, scheme, a, b); got != want {
			t.Errorf("Compare(%q, %q) is %+d, the reference says %+d", a, b, got, want)
		}
	})
}

// TestKeyShape holds keys to what the package comment says of all of them.
func TestKeyShape(t *testing.T) {
	eachScheme(t, func(t *rapid.T, scheme Scheme) {
		s := draw(t, scheme)
		key, err := Key(scheme, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(key) < 1 || len(key) > len(s)+len(s)*keyGrowth(scheme)/100+8 {
			t.Errorf("key of %q has %d bytes", s, len(key))
		}
		if key[0] < 0x02 || key[0] > 0xfe {
			t.Errorf("key of %q begins with %#x", s, key[0])
		}
	})
}
