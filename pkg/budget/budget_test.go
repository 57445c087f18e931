package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// host is a registry with a rate, in these tests.
const host = "registry.example"

func newBudget(t *testing.T, s *store.Store, rates map[string]float64) *Budget {
	t.Helper()
	b, err := New(Config{Store: s, Rates: rates, Slots: map[string]int{host: 0}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func request(kind registry.Kind) registry.Request { return registry.Request{Host: host, Kind: kind} }

// TestRate has two processes ask as fast as they can.
func TestRate(t *testing.T) {
	t.Parallel()
	const rate, duration = 100, 2 * time.Second
	s := clustertest.Store(t)
	var made atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for range 2 {
		b := newBudget(t, s, map[string]float64{host: rate})
		for range 8 {
			all.Go(func() {
				for {
					if _, _, err := b.Acquire(ctx, request(registry.KindManifest)); err == nil {
						made.Add(1)
					} else if ctx.Err() != nil {
						return
					} else {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	most := rate*time.Since(began).Seconds() + rate*burstTime.Seconds() + 1
	if n := float64(made.Load()); n > most || n < 0.6*rate*duration.Seconds() {
		t.Errorf("%v requests in %s, want %v at most, and not much less", n, time.Since(began), most)
	}
}

func TestPause(t *testing.T) {
	s := clustertest.Store(t)
	a, b := newBudget(t, s, nil), newBudget(t, s, map[string]float64{host: 1000})
	ctx := t.Context()
	a.Observe(registry.Response{
		Request: request(registry.KindManifest), Status: http.StatusTooManyRequests, RetryAfter: time.Hour, Limit: 100, Remaining: 0, Window: 6 * time.Hour,
	})
	refused := func(who string, b *Budget) {
		t.Helper()
		_, _, err := b.Acquire(ctx, request(registry.KindManifest))
		if after := fault.AfterOf(err); fault.KindOf(err) != fault.RateLimited || after < 59*time.Minute || after > time.Hour {
			t.Errorf("%s: %v after %s", who, err, after)
		}
	}
	refused("who was told", a)
	for _, process := range []*Budget{a, b} {
		if err := process.exchange(ctx); err != nil {
			t.Fatal(err)
		}
	}
	refused("the other", b)
	if _, _, err := b.Acquire(ctx, request(registry.KindBlob)); err != nil {
		t.Errorf("another kind of request: %v", err)
	}
	if got, _, err := s.DrawBudget(ctx, store.Account{Host: host, Kind: "manifest"}, 10, 10, 10); err != nil || got != 0 {
		t.Errorf("drew %d of a paused budget (%v)", got, err)
	}
	budgets, err := s.Budgets(ctx)
	if err != nil || len(budgets) != 2 || budgets[1].Limit != 100 || budgets[1].Remaining != 0 || budgets[1].Window != 6*time.Hour || budgets[1].Reason == "" {
		t.Errorf("%+v (%v)", budgets, err)
	}
	// A shorter pause does not end a longer one.
	a.Observe(registry.Response{Request: request(registry.KindManifest), Status: http.StatusTooManyRequests, Remaining: -1})
	if err := a.exchange(ctx); err != nil {
		t.Fatal(err)
	}
	refused("after a shorter pause", a)
}

// TestShortPause waits out what is short.
func TestShortPause(t *testing.T) {
	b := newBudget(t, clustertest.Store(t), nil)
	b.Observe(registry.Response{Request: request(registry.KindBlob), Status: http.StatusTooManyRequests, RetryAfter: 300 * time.Millisecond, Remaining: -1})
	began := time.Now()
	if _, _, err := b.Acquire(t.Context(), request(registry.KindBlob)); err != nil || time.Since(began) < 250*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Observe(registry.Response{Request: request(registry.KindBlob), Status: http.StatusTooManyRequests, RetryAfter: time.Second, Remaining: -1})
	if _, _, err := b.Acquire(ctx, request(registry.KindBlob)); fault.KindOf(err) != fault.Canceled {
		t.Errorf("told to stop: %v", err)
	}
}

// TestStrangers has many hosts answer 429: what is kept of them is bounded.
func TestStrangers(t *testing.T) {
	b := newBudget(t, clustertest.Store(t), nil)
	for n := range 3 * maxAccounts {
		r := registry.Request{Host: fmt.Sprintf("h%d.localhost", n), Kind: registry.KindBlob}
		if _, _, err := b.Acquire(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		b.Observe(registry.Response{Request: r, Status: http.StatusTooManyRequests, RetryAfter: time.Hour, Remaining: -1})
	}
	if len(b.purses) > maxAccounts || len(b.notes) > maxAccounts {
		t.Errorf("%d purses and %d notes", len(b.purses), len(b.notes))
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{
		{Rates: map[string]float64{host: 0}}, {Rates: map[string]float64{host: -1}}, {Rates: map[string]float64{host: math.NaN()}},
		{Slots: map[string]int{host: -1}}, {Slots: map[string]int{host: maxSlots + 1}},
	} {
		if _, err := New(c); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// TestAway: a statement that failed once, and was not needed again, is not the reason for what is refused later.
func TestAway(t *testing.T) {
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.report(t.Context(), "draw requests", errors.New("broken pipe"))
	if b.away() != errAway {
		t.Error("a statement failed, and the database is not away")
	}
	b.failing["draw requests"] = time.Now().Add(-time.Minute)
	if b.away() != "" {
		t.Errorf("a minute later: %s", b.away())
	}
}

// TestNames: a host is the same one, however it is written.
func TestNames(t *testing.T) {
	b, err := New(Config{Slots: map[string]int{"Registry.Example:443": 0}})
	if err != nil {
		t.Fatal(err)
	}
	b.Observe(registry.Response{Request: request(registry.KindBlob), Status: http.StatusTooManyRequests, RetryAfter: time.Hour, Remaining: -1})
	for _, name := range []string{"registry.example", "registry.example:443", "REGISTRY.example"} {
		blob, manifest := registry.Request{Host: name, Kind: registry.KindBlob}, registry.Request{Host: name, Kind: registry.KindManifest}
		if _, _, err := b.Acquire(t.Context(), blob); fault.KindOf(err) != fault.RateLimited {
			t.Errorf("%s, which is paused: %v", name, err)
		}
		if _, _, err := b.Acquire(t.Context(), manifest); err != nil {
			t.Errorf("%s, which has no limit: %v", name, err)
		}
	}
}
