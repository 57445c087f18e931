package budget

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// TestBoast: a registry that says that it allows more than can be counted is asked as much as one likes.
func TestBoast(t *testing.T) {
	s := clustertest.Store(t)
	manifest := request(registry.KindManifest)
	for _, remaining := range []int64{1e6, 1e11, math.MaxInt64} {
		for _, window := range []time.Duration{0, time.Second, 6 * time.Hour} {
			b := newBudget(t, s, nil)
			b.Observe(registry.Response{Request: manifest, Status: http.StatusOK, Limit: remaining, Remaining: remaining, Window: window})
			if _, release, err := b.Acquire(t.Context(), manifest); err != nil || b.away() != "" {
				t.Errorf("%d remain in %s: %v, %s", remaining, window, err, b.away())
			} else {
				release()
			}
			if err := b.exchange(t.Context()); err != nil {
				t.Errorf("%d remain in %s: %v", remaining, window, err)
			}
		}
	}
}

// TestManyStrangers: registries that many submissions name, and that have much to say, do not keep others from being heard.
func TestManyStrangers(t *testing.T) {
	s := clustertest.Store(t)
	a, b := newBudget(t, s, nil), newBudget(t, s, nil)
	for i := range 3 * maxAccounts {
		stranger := registry.Request{Host: fmt.Sprintf("a%d.stranger.example", i), Kind: registry.KindManifest}
		a.Observe(registry.Response{Request: stranger, Status: http.StatusOK, Limit: 1, Remaining: 0, Window: 7 * 24 * time.Hour})
		if i%maxAccounts == maxAccounts-1 {
			if err := a.exchange(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	manifest := request(registry.KindManifest)
	a.Observe(registry.Response{Request: manifest, Status: http.StatusTooManyRequests, Remaining: -1, RetryAfter: time.Hour})
	for _, process := range []*Budget{a, b} {
		if err := process.exchange(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _, err := process.Acquire(t.Context(), manifest)
		if fault.KindOf(err) != fault.RateLimited {
			t.Errorf("a registry that said 429 after many others spoke is asked: %v", err)
		}
		if len(process.purses) > maxAccounts {
			t.Errorf("%d accounts are kept", len(process.purses))
		}
	}
}
