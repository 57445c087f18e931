package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/shard"
)

func TestHearing(t *testing.T) {
	workers := []shard.Worker{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}}
	both := shard.Assign(workers)
	alone := shard.Assign(workers[:1])
	held := func(by ...string) map[int]string {
		holders := make(map[int]string)
		for n, worker := range both {
			if slices.Contains(by, worker) {
				holders[n] = worker
			}
		}
		return holders
	}
	all := func(by string) map[int]string {
		holders := make(map[int]string)
		for n := range shard.Count {
			holders[n] = by
		}
		return holders
	}
	var h hearing
	began := time.Now()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	for _, step := range []struct {
		after    time.Duration
		assigned shard.Assignment
		holders  map[int]string
		deaf     []string
		get      int // workers that get shards
	}{
		{0, both, nil, nil, 2}, // nobody has had the time
		{time.Second, both, held("a", "b"), nil, 2},
		{5 * time.Second, both, held("a"), nil, 2},
		{14 * time.Second, both, held("a"), nil, 2},
		{15 * time.Second, both, held("a"), []string{"b"}, 1},
		{20 * time.Second, alone, all("a"), nil, 1}, // a takes what was b's
		{44 * time.Second, alone, all("a"), nil, 1},
		{45 * time.Second, alone, all("a"), nil, 2}, // b is tried again
		{46 * time.Second, both, held("a"), nil, 2},
		{56 * time.Second, both, held("a"), []string{"b"}, 1},
		{115 * time.Second, alone, all("a"), nil, 1}, // twice as long
		{116 * time.Second, alone, all("a"), nil, 2},
		{117 * time.Second, both, held("a", "b"), nil, 2}, // and hears
		{120 * time.Second, both, held("a"), nil, 2},
		{130 * time.Second, both, held("a"), []string{"b"}, 1},
		{160 * time.Second, alone, all("a"), nil, 2}, // it had been well in between
		{161 * time.Second, both, held("a", "b"), nil, 2},
		{170 * time.Second, both, nil, nil, 2},
		{180 * time.Second, both, nil, []string{"a", "b"}, 2}, // if all are, it is not they
	} {
		if deaf := h.observe(at(step.after), step.assigned, step.holders); !slices.Equal(deaf, step.deaf) {
			t.Errorf("%s: deaf are %v, want %v", step.after, deaf, step.deaf)
		}
		if got := len(h.without(at(step.after), workers)); got != step.get {
			t.Errorf("%s: %d workers get shards, want %d", step.after, got, step.get)
		}
	}
}

// TestHolderOfBefore holds that a shard which another still holds, by finishing or having died, is not a sign of deafness.
func TestHolderOfBefore(t *testing.T) {
	assigned := shard.Assign([]shard.Worker{{ID: "new", Weight: 1}})
	holders := map[int]string{}
	for n := range assigned {
		holders[n] = "old"
	}
	var h hearing
	began := time.Now()
	for _, d := range []time.Duration{0, time.Minute, time.Hour} {
		if deaf := h.observe(began.Add(d), assigned, holders); len(deaf) > 0 {
			t.Errorf("%s: %v", d, deaf)
		}
	}
}
