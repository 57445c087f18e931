package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var testKinds = kinds([]string{"coordinator-1", "coordinator-2"}, []string{"worker-1", "worker-2", "worker-3"}, []string{"updater-1"}, []string{"api-1", "api-2"})

// TestPlan: a schedule is one of its seed, everything in it is undone by the end, and nobody is hit while down.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		duration := time.Duration(rapid.IntRange(0, 600).Draw(t, "seconds")) * time.Second
		blows := plan(seed, duration, testKinds)
		if diff := cmp.Diff(blows, plan(seed, duration, testKinds)); diff != "" {
			t.Fatal(diff)
		}
		down := make(map[string]time.Duration)
		var last time.Duration
		for _, b := range blows {
			if b.At < last || b.For < shortestBlow || b.At+b.For > duration {
				t.Fatalf("%v comes after %v of %v", b, last, duration)
			}
			if b.At < down[b.Target] {
				t.Fatalf("%v, and it is down until %v", b, down[b.Target])
			}
			last, down[b.Target] = b.At, b.At+b.For
		}
	})
}

// TestPlanCovers: in two minutes everything happens that can.
func TestPlanCovers(t *testing.T) {
	for seed := range uint64(20) {
		seen := make(map[Blow]bool)
		for _, b := range plan(seed, 2*time.Minute, testKinds) {
			seen[Blow{Act: b.Act, Target: group(b.Target), From: b.From}] = true
		}
		for _, k := range testKinds {
			one := Blow{Act: k.act, Target: group(k.targets[0])}
			switch len(k.from) {
			case 0:
			case 1:
				one.From = k.from[0]
			default: // any
				if !slices.ContainsFunc(k.from, func(from string) bool { one.From = from; return seen[one] }) {
					t.Errorf("seed %d: nobody comes to %s %s from any of %s", seed, one.Act, one.Target, k.from)
				}
				continue
			}
			if !seen[one] {
				t.Errorf("seed %d: nobody comes to %s %s %s", seed, one.Act, one.Target, one.From)
			}
		}
	}
}

// group is a member's name without its number.
func group(name string) string {
	if n := len(name); n > 2 && name[n-2] == '-' {
		return name[:n-2]
	}
	return name
}
