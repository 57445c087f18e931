package shard

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/digest"
)

var update = flag.Bool("update", false, "write the golden files")

func TestOf(t *testing.T) {
	for text, want := range map[string]int{
		"sha256:00000000000000ff" + strings.Repeat("00", 24):                      0xff,
		"sha256:ffffffffffffff00" + strings.Repeat("ff", 24):                      0,
		"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824": 0x0e,
		"sha512:00000000000000ff" + strings.Repeat("00", 56):                      0xff,
	} {
		if got := Of(digest.MustParse(text)); got != want {
			t.Errorf("Of(%s) = %d, want %d", text, got, want)
		}
	}
	if got := Of(digest.Digest{}); got != 0 {
		t.Errorf("Of(no digest) = %d", got)
	}
}

// drawWorkers draws a cluster: a few workers or hundreds, equal or very unequal, some of them draining.
func drawWorkers(t *rapid.T) []Worker {
	most := rapid.SampledFrom([]int{2, 8, 40, 400}).Draw(t, "most workers")
	weight := rapid.SampledFrom([]*rapid.Generator[int]{
		rapid.Just(8), rapid.IntRange(1, 64), rapid.IntRange(-1, 3), rapid.IntRange(0, MaxWeight), rapid.Int(),
	}).Draw(t, "weights")
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Worker {
		return Worker{ID: rapid.StringMatching(`w[a-z0-9]{1,8}`).Draw(t, "id"), Weight: weight.Draw(t, "weight")}
	}), 0, most, func(w Worker) string { return w.ID }).Draw(t, "workers")
}

func TestAssignIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := drawWorkers(t)
		a := Assign(workers)
		caps, sum := Caps(workers), 0
		for i, w := range workers {
			if n := len(a.Shards(w.ID)); n > caps[i] {
				t.Errorf("%v owns %d shards, cap %d", w, n, caps[i])
			}
			sum += caps[i]
		}
		switch nobody := len(a.Shards("")); {
		case sum == 0 && nobody != Count:
			t.Errorf("nobody has a weight, and %d shards are owned", Count-nobody)
		case sum > 0 && nobody != 0:
			t.Errorf("%d shards have no owner", nobody)
		}
	})
}

func TestCapsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := drawWorkers(t)
		var sum float64
		for _, w := range workers {
			sum += float64(clampWeight(w.Weight))
		}
		for i, c := range Caps(workers) {
			bound := 17. / 16 * Count * float64(clampWeight(workers[i].Weight)) / sum
			if sum > 0 && (float64(c) < bound-1e-6 || float64(c) >= bound+1) {
				t.Errorf("%v of %v: cap %d, want ⌈%v⌉", workers[i], sum, c, bound)
			}
		}
	})
}

// TestAssignIsAFunctionOfTheSet holds that order, repetition, and workers without a share do not matter.
func TestAssignIsAFunctionOfTheSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := drawWorkers(t)
		other := rapid.Permutation(workers).Draw(t, "order")
		if len(other) > 0 {
			again := other[0]
			again.Weight = min(again.Weight, 1)
			other = append(other, again)
		}
		other = append(other, Worker{ID: "", Weight: 1000}, Worker{ID: "draining", Weight: 0})
		if a, b := Assign(workers), Assign(other); a != b {
			t.Errorf("shards %v differ", a.Moved(&b))
		}
	})
}

// TestAssignIsTheStableMatching compares with the slow definition: take the pair of least cost of all that are
// left, as long as the worker has room.
func TestAssignIsTheStableMatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := eligible(drawWorkers(t))
		type pair struct {
			cost          uint64
			worker, shard int
		}
		var pairs []pair
		logs := newLogTable()
		for w := range workers {
			for s := range Count {
				pairs = append(pairs, pair{logs.cost(s, seed(workers[w].ID), workers[w].Weight), w, s})
			}
		}
		slices.SortFunc(pairs, func(a, b pair) int {
			switch {
			case a.cost != b.cost && a.cost < b.cost:
				return -1
			case a.cost != b.cost:
				return 1
			case a.worker != b.worker:
				return a.worker - b.worker
			}
			return a.shard - b.shard
		})
		var want Assignment
		room := Caps(workers)
		for _, p := range pairs {
			if want[p.shard] == "" && room[p.worker] > 0 {
				want[p.shard] = workers[p.worker].ID
				room[p.worker]--
			}
		}
		if diff := cmp.Diff(want, Assign(workers)); diff != "" {
			t.Errorf("(-greedy +Assign):\n%s", diff)
		}
	})
}

// TestOnlyWhatMustMoves holds the promise of the package comment for changes that leave the caps alone:
// a leave pushes shards of others to dearer workers only, a join to the new worker or to cheaper ones only.
func TestOnlyWhatMustMoves(t *testing.T) {
	logs, held := newLogTable(), 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(30, 300).Draw(t, "workers")
		all := cluster(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), n, func(*rand.Rand) int { return 8 })
		gone, rest := all[0], all[1:]
		if !slices.Equal(Caps(all)[1:], Caps(rest)) {
			return
		}
		held++
		before, after := Assign(all), Assign(rest)
		cost := func(s int, id string) uint64 { return logs.cost(s, seed(id), 8) }
		for _, s := range before.Moved(&after) {
			if before[s] != gone.ID && cost(s, after[s]) < cost(s, before[s]) {
				t.Errorf("%v left, and shard %d moved from %s to %s, which is cheaper", gone, s, before[s], after[s])
			}
		}
	})
	if held == 0 {
		t.Error("the caps changed in each case drawn: nothing was tested")
	}
}

// cluster returns n workers with random IDs.
func cluster(r *rand.Rand, n int, weight func(*rand.Rand) int) []Worker {
	workers := make([]Worker, n)
	for i := range workers {
		workers[i] = Worker{ID: fmt.Sprintf("worker-%016x", r.Uint64()), Weight: weight(r)}
	}
	return workers
}

// TestMoves measures how many shards of others a leave (or, read backwards, a join) moves.
func TestMoves(t *testing.T) {
	equal := func(*rand.Rand) int { return 8 }
	for _, c := range []struct {
		name   string
		weight func(*rand.Rand) int
		sizes  []int
		mean   float64 // no more than this on average
		most   int     // and never more than this
	}{
		{"equal weights", equal, []int{2, 3, 5, 10, 20, 50, 100, 300, 1000}, 7, 15},
		{"weights 1 to 64", func(r *rand.Rand) int { return 1 + r.IntN(64) }, []int{2, 3, 5, 10, 20, 50, 100, 300, 1000}, 7, 15},
		{"weights 4, 8 or 16", func(r *rand.Rand) int { return 4 << r.IntN(3) }, []int{2, 3, 5, 10, 20, 50, 100, 300, 1000}, 7, 24},
		{"caps step from 8 to 9", equal, []int{34}, 19, 30},
		{"caps step from 4 to 5", equal, []int{68}, 37, 50},
		{"caps step from 2 to 3", equal, []int{136}, 62, 78},
		{"caps step from 1 to 2", equal, []int{272}, 95, 112},
	} {
		for _, n := range c.sizes {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			trials, own, others, worst := max(10, min(200, 5000/n)), 0, 0, 0
			for range trials {
				all := cluster(r, n, c.weight)
				before, after := Assign(all), Assign(all[1:])
				mine := len(before.Shards(all[0].ID))
				more := len(before.Moved(&after)) - mine
				own, others, worst = own+mine, others+more, max(worst, more)
			}
			mean := float64(others) / float64(trials)
			t.Logf("%s, %d workers: own %.2f, others mean %.2f, most %d", c.name, n, float64(own)/float64(trials), mean, worst)
			if mean > c.mean || worst > c.most {
				t.Errorf("%s, %d workers: %.2f shards of others move on average, %d at most; want no more than %v and %d",
					c.name, n, mean, worst, c.mean, c.most)
			}
		}
	}
}

// TestWeightsAreHonored holds that workers get shards in proportion to their weights.
func TestWeightsAreHonored(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var light, heavy float64
	for range 200 {
		workers := cluster(r, 12, func(*rand.Rand) int { return 1 })
		for i := range 4 {
			workers[i].Weight = 4
		}
		a := Assign(workers)
		for i, w := range workers {
			if n := float64(len(a.Shards(w.ID))); i < 4 {
				heavy += n / 4
			} else {
				light += n / 8
			}
		}
	}
	if ratio := heavy / light; ratio < 3.8 || ratio > 4.2 {
		t.Errorf("workers of weight 4 own %.2f times what those of weight 1 own", ratio)
	}
}

func TestNegLog(t *testing.T) {
	logs := newLogTable()
	r := rand.New(rand.NewPCG(4, 4))
	hs := []uint64{1, 2, 3, 255, 1 << 32, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64}
	for range 100_000 {
		hs = append(hs, r.Uint64()>>r.IntN(64)|1)
	}
	slices.Sort(hs)
	last := uint64(math.MaxUint64)
	for _, h := range hs {
		got := logs.negLog(h)
		want := 64 - math.Log2(float64(h))
		if diff := float64(got)/(1<<fraction) - want; math.Abs(diff) > 3e-6 {
			t.Fatalf("negLog(%#x) is off by %g", h, diff)
		}
		if got > last {
			t.Fatalf("negLog(%#x) is greater than that of a smaller number", h)
		}
		last = got
	}
}

// TestGolden pins hash, arithmetic and wire form: an upgrade must not reshuffle a cluster.
func TestGolden(t *testing.T) {
	for name, workers := range map[string][]Worker{
		"none":     nil,
		"one":      {{"laptop", 1}},
		"three":    {{"worker-0", 8}, {"worker-1", 8}, {"worker-2", 8}},
		"weighted": {{"worker-0", 2}, {"worker-1", 4}, {"worker-2", 8}, {"worker-3", 16}, {"worker-4", 0}},
		"hundred": slices.Collect(func(yield func(Worker) bool) {
			for i := range 100 {
				if !yield(Worker{fmt.Sprintf("10.0.0.%d", i), 8}) {
					return
				}
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			a := Assign(workers)
			got, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var back Assignment
			if err := json.Unmarshal(want, &back); err != nil || back != a {
				t.Errorf("read back: %v, shards %v differ", err, a.Moved(&back))
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		seed, err := json.Marshal(Assign(cluster(rand.New(rand.NewPCG(1, 1)), n, func(*rand.Rand) int { return 1 })))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
		f.Add(bytes.Replace(seed, []byte(`"v":1`), []byte(`"v":2`), 1))
		f.Add(bytes.Replace(seed, []byte(`[0,`), []byte(`[7,`), 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, b Assignment
		if err := a.UnmarshalJSON(data); err != nil {
			if a != (Assignment{}) {
				t.Errorf("an error, and a value: %v", err)
			}
			return
		}
		first, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(first, &b); err != nil || a != b {
			t.Errorf("%s is not read back: %v", first, err)
		}
	})
}

func BenchmarkAssign(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) {
			workers := cluster(rand.New(rand.NewPCG(1, 1)), n, func(*rand.Rand) int { return 8 })
			for b.Loop() {
				Assign(workers)
			}
		})
	}
}
