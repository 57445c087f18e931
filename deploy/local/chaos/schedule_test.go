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
		seen := make(map[string]bool)
		for _, b := range plan(seed, 2*time.Minute, testKinds) {
			b.Fatal = false
			seen[b.Kind()] = true
		}
		for _, k := range testKinds {
			if !slices.ContainsFunc(append([]string{""}, k.from...), func(from string) bool {
				return seen[Blow{Act: k.act, Target: k.targets[0], From: from}.Kind()]
			}) {
				t.Errorf("seed %d: nobody comes to %s %s, from any of %s", seed, k.act, k.targets[0], k.from)
			}
		}
	}
}
