package coordinator

import (
	"slices"
	"time"

	"github.com/trawl-scanner/trawl/pkg/shard"
)

// A worker that gossips with the others and cannot reach etcd is alive to all, and would keep the shards that it cannot
// take. So would one that hangs. They are noticed by shards that are assigned and that nobody holds.
const (
	// deafAfter is how long a shard may be free before its worker counts as deaf. To take one is a matter of
	// milliseconds.
	deafAfter = 10 * time.Second
	// A deaf worker gets no shards for minQuarantine, and twice as long each time that it is found deaf again.
	minQuarantine = 30 * time.Second
	maxQuarantine = 10 * time.Minute
)

// hearing knows which workers do not take their shards. It is a value without a lock; its zero value knows of none.
type hearing struct {
	free  map[string]time.Time // since when shards of a worker are free
	until map[string]time.Time // the end of a worker's quarantine
	last  map[string]time.Duration
}

// observe takes note of who holds which shard, and returns the workers that are newly found deaf.
func (h *hearing) observe(now time.Time, assigned shard.Assignment, holders map[int]string) (deaf []string) {
	if h.free == nil {
		h.free, h.until, h.last = make(map[string]time.Time), make(map[string]time.Time), make(map[string]time.Duration)
	}
	free, all := make(map[string]bool), make(map[string]bool)
	for n, worker := range assigned {
		if worker != "" {
			all[worker] = true
			free[worker] = free[worker] || holders[n] == ""
		}
	}
	for worker := range h.free {
		if !free[worker] {
			delete(h.free, worker)
		}
	}
	for worker := range all {
		switch since, known := h.free[worker]; {
		case !free[worker]:
			delete(h.last, worker) // it hears
		case !known:
			h.free[worker] = now
		case now.Sub(since) >= deafAfter:
			delete(h.free, worker)
			h.last[worker] = min(maxQuarantine, max(minQuarantine, 2*h.last[worker]))
			h.until[worker] = now.Add(h.last[worker])
			deaf = append(deaf, worker)
		}
	}
	slices.Sort(deaf)
	return deaf
}

// without returns the workers that hear. Where none does, it returns all: then it is not they who are deaf.
func (h *hearing) without(now time.Time, workers []shard.Worker) []shard.Worker {
	var out []shard.Worker
	for _, w := range workers {
		if !now.Before(h.until[w.ID]) {
			delete(h.until, w.ID)
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		return workers
	}
	return out
}
