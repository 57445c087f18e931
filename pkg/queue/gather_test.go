package queue

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
		{"one that somebody waits for", job.Now, nil, nowPatience, 1},
		{"one of the bulk", job.Bulk, nil, bulkPatience, 1},
		{"more of the bulk", job.Bulk, []coming{{20 * ms, job.Bulk}, {49 * ms, job.Bulk}, {51 * ms, job.Bulk}}, bulkPatience, 3},
		{"one that somebody waits for among the bulk", job.Bulk, []coming{{20 * ms, job.Now}, {29 * ms, job.Bulk}, {31 * ms, job.Bulk}}, 20*ms + nowPatience, 3},
		{"one that somebody waits for, late", job.Bulk, []coming{{45 * ms, job.Now}}, bulkPatience, 2},
		{"the bulk behind one that somebody waits for", job.Now, []coming{{5 * ms, job.Bulk}, {15 * ms, job.Bulk}}, nowPatience, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				others := make(chan job.Lane, len(test.others))
				for _, c := range test.others {
					time.AfterFunc(c.at, func() { others <- c.lane })
				}
				began := time.Now()
				batch := Gather(test.first, others, 64, func(lane job.Lane) job.Lane { return lane })
				if took := time.Since(began); took != test.took || len(batch) != test.size {
					t.Errorf("%d jobs after %s, want %d after %s", len(batch), took, test.size, test.took)
				}
			})
		})
	}
}

// TestGatherEnds: a batch that is full, or that nothing can join any more, does not wait.
func TestGatherEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		others := make(chan int, 3)
		for n := range 3 {
			others <- n
		}
		began := time.Now()
		bulk := func(int) job.Lane { return job.Bulk }
		if batch := Gather(-1, others, 3, bulk); len(batch) != 3 {
			t.Errorf("%d jobs, want 3", len(batch))
		}
		close(others)
		if batch := Gather(-1, others, 3, bulk); len(batch) != 2 {
			t.Errorf("%d jobs, want 2", len(batch))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited for %s", took)
		}
	})
}
