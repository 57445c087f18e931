package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// TestGather: who waits is not kept waiting for the sake of a larger batch, and others are.
func TestGather(t *testing.T) {
	const ms = time.Millisecond
	type coming struct {
		at   time.Duration
		lane job.Lane
	}
	for _, test := range []struct {
		name   string
		first  job.Lane
		others []coming
		took   time.Duration
		size   int
	}{
		{"one that somebody waits for", job.Now, nil, commitWait, 1},
		{"one of the bulk", job.Bulk, nil, bulkWait, 1},
		{"more of the bulk", job.Bulk, []coming{{20 * ms, job.Bulk}, {49 * ms, job.Bulk}, {51 * ms, job.Bulk}}, bulkWait, 3},
		{"one that somebody waits for among the bulk", job.Bulk, []coming{{20 * ms, job.Now}, {29 * ms, job.Bulk}, {31 * ms, job.Bulk}}, 20*ms + commitWait, 3},
		{"one that somebody waits for, late", job.Bulk, []coming{{45 * ms, job.Now}}, bulkWait, 2},
		{"the bulk behind one that somebody waits for", job.Now, []coming{{5 * ms, job.Bulk}, {15 * ms, job.Bulk}}, commitWait, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &Worker{results: make(chan result, len(test.others))}
				for _, c := range test.others {
					time.AfterFunc(c.at, func() { w.results <- result{layer: job.Layer{Lane: c.lane}} })
				}
				began := time.Now()
				batch := w.gather(result{layer: job.Layer{Lane: test.first}})
				if took := time.Since(began); took != test.took || len(batch) != test.size {
					t.Errorf("%d results after %s, want %d after %s", len(batch), took, test.size, test.took)
				}
			})
		})
	}
}
