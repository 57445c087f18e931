package worker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/queue"
)

// underway knows the layers that are being analyzed. A job for one of them joins the attempt instead of
// making another. It is safe for concurrent use.
type underway struct {
	mu     sync.Mutex
	layers map[digest.Digest]*attempt
}

// attempt is one layer being analyzed.
type attempt struct {
	since   time.Time
	read    atomic.Int64 // compressed bytes
	records []queue.Record
}

func newUnderway() *underway { return &underway{layers: make(map[digest.Digest]*attempt)} }

// begin notes a job. It returns nil when the layer is being analyzed already and the job joined.
func (u *underway) begin(d digest.Digest, record queue.Record) *attempt {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a, ok := u.layers[d]; ok {
		a.records = append(a.records, record)
		return nil
	}
	a := &attempt{since: time.Now(), records: []queue.Record{record}}
	u.layers[d] = a
	return a
}

// end forgets a layer and returns the jobs that its result answers.
func (u *underway) end(d digest.Digest) []queue.Record {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.layers[d]
	delete(u.layers, d)
	if a == nil {
		return nil
	}
	return a.records
}

// count returns how many layers are being analyzed.
func (u *underway) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.layers)
}

// progress returns how far the layers are that have been under way for longer than age.
func (u *underway) progress(age time.Duration) map[digest.Digest]int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make(map[digest.Digest]int64)
	for d, a := range u.layers {
		if n := a.read.Load(); n > 0 && time.Since(a.since) > age {
			out[d] = n
		}
	}
	return out
}
