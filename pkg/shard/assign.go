package shard

import (
	"slices"
	"strings"
)

// slack is how much more than its fair share a worker may have: 1/slack of it. When everybody works for as long as there
// is work, the worker with the most shards is done last, and the others have waited for it; so 16 workers do at least 16/17
// of sixteen times what one does. Without the slack, a join or a leave would move more shards.
const slack = 16

// Caps returns the most shards that each of the workers may own: ⌈(1 + 1/16) × Count × weight / sum of weights⌉,
// computed exactly, and 0 for a weight of 0 or less. Their sum is never below [Count] unless it is 0.
func Caps(workers []Worker) []int {
	var sum int64
	for _, w := range workers {
		sum += clampWeight(w.Weight)
	}
	caps := make([]int, len(workers))
	for i, w := range workers {
		if n := clampWeight(w.Weight); n > 0 {
			caps[i] = int((Count*(slack+1)*n + slack*sum - 1) / (slack * sum))
		}
	}
	return caps
}

func clampWeight(w int) int64 { return int64(min(max(w, 0), MaxWeight)) }

// Assign returns who owns which shard. It depends on nothing but the set of workers and their weights.
// A worker without an ID is left out; of several with one ID the heaviest counts. Where no worker has a weight
// above 0, nobody owns anything. Assigning to 1,000 workers takes some milliseconds.
func Assign(workers []Worker) Assignment {
	m := newMatching(workers)
	if len(m.workers) == 0 {
		return Assignment{}
	}
	for s := range Count {
		// The shard proposes itself to the cheapest worker; whoever loses its place by that goes on.
		for next := s; next >= 0; {
			next = m.place(next)
		}
	}
	var a Assignment
	for s, w := range m.owner {
		a[s] = m.workers[w].ID
	}
	return a
}

// matching is the state of the deferred acceptance of Gale and Shapley ("College Admissions and the Stability
// of Marriage", 1962), with shards as the ones who propose.
type matching struct {
	workers []Worker // with a weight, sorted by ID, distinct
	caps    []int
	held    [][]int    // by worker: the shards that it has accepted
	owner   [Count]int // by shard: who has accepted it, or who was the last to refuse it; -1 for nobody
	costs   [Count][]uint64
}

func newMatching(workers []Worker) *matching {
	m := &matching{workers: eligible(workers)}
	m.caps = Caps(m.workers)
	m.held = make([][]int, len(m.workers))
	seeds := make([]uint64, len(m.workers))
	for w := range m.workers {
		seeds[w] = seed(m.workers[w].ID)
	}
	logs := newLogTable()
	all := make([]uint64, Count*len(m.workers))
	for s := range Count {
		m.owner[s] = -1
		m.costs[s], all = all[:len(m.workers)], all[len(m.workers):]
		for w := range m.workers {
			m.costs[s][w] = logs.cost(s, seeds[w], m.workers[w].Weight)
		}
	}
	return m
}

// eligible returns the workers that can own shards, sorted by ID, distinct, with weights that count.
func eligible(workers []Worker) []Worker {
	heaviest := make(map[string]int)
	for _, w := range workers {
		if n := int(clampWeight(w.Weight)); w.ID != "" && n > heaviest[w.ID] {
			heaviest[w.ID] = n
		}
	}
	list := make([]Worker, 0, len(heaviest))
	for id, n := range heaviest {
		list = append(list, Worker{ID: id, Weight: n})
	}
	slices.SortFunc(list, func(a, b Worker) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// place gives a shard to the cheapest worker that has not refused it. It returns the shard that is
// without a place thereafter, which may be the same, or -1.
func (m *matching) place(s int) int {
	w := m.nextWorker(s)
	m.owner[s] = w
	m.held[w] = append(m.held[w], s)
	if len(m.held[w]) <= m.caps[w] {
		return -1
	}
	worst := 0
	for i := range m.held[w] {
		if m.dearer(w, m.held[w][i], m.held[w][worst]) {
			worst = i
		}
	}
	out := m.held[w][worst]
	m.held[w] = slices.Delete(m.held[w], worst, worst+1)
	return out
}

// nextWorker returns the cheapest worker after the one that refused s last, or of all if none did.
// As the caps have room for all shards together, there always is one: a shard is refused by the
// last only where all are full.
func (m *matching) nextWorker(s int) int {
	costs, refused, best := m.costs[s], m.owner[s], -1
	for w, c := range costs {
		if refused >= 0 && (c < costs[refused] || c == costs[refused] && w <= refused) {
			continue
		}
		if best < 0 || c < costs[best] {
			best = w
		}
	}
	return best
}

// dearer reports whether a is dearer to the worker than b. Equal costs are told apart by number.
func (m *matching) dearer(w, a, b int) bool {
	ca, cb := m.costs[a][w], m.costs[b][w]
	return ca > cb || ca == cb && a > b
}
