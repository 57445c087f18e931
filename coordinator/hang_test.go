package coordinator_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// TestHangingRegistry holds that a registry which does not answer keeps nobody waiting: not people, be it for the same
// registry, and not crawls of others.
func TestHangingRegistry(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	clustertest.Eventually(t, "a leads", func() bool { return a.leads(t) })
	var hanging atomic.Int64
	s.registry.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v2/hang/") {
			return false
		}
		hanging.Add(1)
		<-r.Context().Done()
		return true
	})
	other := clustertest.NewRegistry(t)
	layer := clustertest.Debian("zlib1g 1:1.2.13")
	for range 70 {
		s.submitTo(s.registry.Host()+"/hang/app:1", job.Bulk)
	}
	const share = 48 // of the 128 slots
	clustertest.Eventually(t, "the registry hangs", func() bool { return hanging.Load() >= share })

	for _, c := range []struct {
		who       string
		reference string
		lane      job.Lane
	}{
		{"people, for the same registry", s.registry.Push(t, "people", "1", layer), job.Now},
		{"a crawl of another", other.Push(t, "crawl", "1", layer), job.Bulk},
		{"people, for another", other.Push(t, "people", "1", layer), job.Now},
	} {
		began := time.Now()
		id := s.submitTo(c.reference, c.lane)
		clustertest.Eventually(t, c.who+" are served", func() bool {
			sub, err := s.Store.Submission(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return sub.State == store.Resolved
		})
		t.Logf("%s: %s", c.who, time.Since(began))
	}
	if n := hanging.Load(); n > share {
		t.Errorf("%d submissions hang at once, want %d", n, share)
	}
}

// submitTo submits a reference in a lane, and returns the submission's id.
func (s *system) submitTo(reference string, lane job.Lane) string {
	s.t.Helper()
	id, err := uuid.NewV7()
	if err == nil {
		err = s.Store.Submit(s.t.Context(), []store.Submission{{ID: id.String(), Target: reference, Lane: lane}})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return id.String()
}
