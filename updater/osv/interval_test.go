package osv

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/version"
)

// evaluate is the algorithm of the OSV schema for a single version, as literally as it can be written:
// https://ossf.github.io/osv-schema/#evaluation. Events must be sorted.
func evaluate(t *rapid.T, v string, sorted []event) bool {
	key := func(s string) []byte {
		if s == "0" {
			return nil
		}
		k, err := version.Key(version.NPM, s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	at := key(v)
	limited, before := false, false
	for _, e := range sorted {
		if e.Limit != "" {
			limited = true
			before = before || e.Limit == "*" || bytes.Compare(at, key(e.Limit)) < 0
		}
	}
	if limited && !before {
		return false
	}
	vulnerable := false
	for _, e := range sorted {
		switch {
		case e.Introduced != "" && bytes.Compare(at, key(e.Introduced)) >= 0:
			vulnerable = true
		case e.Fixed != "" && bytes.Compare(at, key(e.Fixed)) >= 0:
			vulnerable = false
		case e.LastAffected != "" && bytes.Compare(at, key(e.LastAffected)) > 0:
			vulnerable = false
		}
	}
	return vulnerable
}

// TestIntervals holds the stretches against the algorithm, for any events and any version.
func TestIntervals(t *testing.T) {
	const most = 12
	text := func(n int) string { return fmt.Sprintf("1.%d.0", n) }
	rapid.Check(t, func(t *rapid.T) {
		// Sorted as the algorithm wants it: by version, and at one version in the order of kinds.
		var sorted []event
		if rapid.Bool().Draw(t, "from the first") {
			sorted = append(sorted, event{Introduced: "0"})
		}
		for n := range most {
			if rapid.IntRange(0, 3).Draw(t, "fixed") == 0 {
				sorted = append(sorted, event{Fixed: text(n)})
			}
			if rapid.IntRange(0, 2).Draw(t, "introduced") == 0 || n == most-1 {
				sorted = append(sorted, event{Introduced: text(n)})
			}
			if rapid.IntRange(0, 5).Draw(t, "last affected") == 0 {
				sorted = append(sorted, event{LastAffected: text(n)})
			}
			switch rapid.IntRange(0, 20).Draw(t, "limit") {
			case 0:
				sorted = append(sorted, event{Limit: text(n)})
			case 1:
				sorted = append(sorted, event{Limit: "*"})
			}
		}
		got, err := intervals(version.NPM, rapid.Permutation(sorted).Draw(t, "events"))
		if err != nil {
			t.Fatal(err)
		}
		for n := -1; n <= 2*most; n++ {
			v := "0.9.0"
			switch {
			case n >= 0 && n%2 == 0:
				v = text(n / 2)
			case n >= 0:
				v = fmt.Sprintf("1.%d.5", n/2)
			}
			key, err := version.Key(version.NPM, v)
			if err != nil {
				t.Fatal(err)
			}
			holds := 0
			for _, i := range got {
				if i.holds(key) {
					holds++
				}
			}
			if holds > 1 || (holds == 1) != evaluate(t, v, sorted) {
				t.Fatalf("%s lies in %d of %v, want %t", v, holds, got, evaluate(t, v, sorted))
			}
		}
	})
}
