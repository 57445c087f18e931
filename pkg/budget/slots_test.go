package budget

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// process returns the budget of a process that is alive, and what stops it.
func process(t *testing.T, s *store.Store, slots int, configure func(*Budget)) (b *Budget, stop func()) {
	t.Helper()
	b, err := New(Config{Store: s, Slots: map[string]int{host: slots}})
	if err != nil {
		t.Fatal(err)
	}
	if configure != nil {
		configure(b)
	}
	return b, clustertest.Go(t, b.Run)
}

// hold waits for as long as a request is under way.
func hold(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// TestSlots has four processes ask as much as they can: three for blobs, one for manifests.
func TestSlots(t *testing.T) {
	t.Parallel()
	const limit, duration = 9, 3 * time.Second
	s := clustertest.Store(t)
	var now, most, blobs, mostBlobs atomic.Int64
	var made [4]atomic.Int64
	count := func(n, most *atomic.Int64) func() {
		for at := n.Add(1); ; {
			if seen := most.Load(); at <= seen || most.CompareAndSwap(seen, at) {
				break
			}
		}
		return func() { n.Add(-1) }
	}
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	var all sync.WaitGroup
	for n := range made {
		b, _ := process(t, s, limit, nil)
		kind := registry.KindBlob
		if n == 0 {
			kind = registry.KindManifest
		}
		for range 20 {
			all.Go(func() {
				for ctx.Err() == nil {
					_, release, err := b.Acquire(ctx, request(kind))
					if err != nil {
						if ctx.Err() == nil {
							t.Error(err)
						}
						return
					}
					end := count(&now, &most)
					endBlob := func() {}
					if kind == registry.KindBlob {
						endBlob = count(&blobs, &mostBlobs)
					}
					hold(ctx, time.Duration(rand.Int64N(int64(5*time.Millisecond))))
					endBlob()
					end()
					release()
					made[n].Add(1)
				}
			})
		}
	}
	all.Wait()
	var counts []int64
	for n := range made {
		counts = append(counts, made[n].Load())
	}
	t.Logf("%v requests in %s, %d at once at most, %d for blobs", counts, duration, most.Load(), mostBlobs.Load())
	if most.Load() > limit || mostBlobs.Load() > limit*3/4+1 || most.Load() < limit-2 {
		t.Errorf("%d at once, %d for blobs, want %d at most", most.Load(), mostBlobs.Load(), limit)
	}
	if slices.Min(counts) < slices.Max(counts)/4 {
		t.Errorf("%v requests: some got much less than others", counts)
	}
}

// TestSlotsComeBack: what a process held that was killed is there again when its lease ends, and at once when it was stopped.
func TestSlotsComeBack(t *testing.T) {
	t.Parallel()
	s := clustertest.Store(t)
	const lease = time.Second
	wish := store.SlotWish{SlotUse: store.SlotUse{Host: host}, Limit: 4, Want: 4}
	if got, err := s.LeaseSlots(t.Context(), "killed", lease, []store.SlotWish{wish}); err != nil || got[0].Held != 4 {
		t.Fatal(got, err)
	}
	began := time.Now()
	a, stop := process(t, s, 4, nil)
	for range 4 {
		if _, _, err := a.Acquire(t.Context(), request(registry.KindManifest)); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	t.Logf("%s after a process with a lease of %s was killed, others have its slots", took, lease)
	if took < lease*3/4 {
		t.Errorf("%s after another process got a lease of %s, its slots are gone", took, lease)
	}
	b, _ := process(t, s, 4, nil)
	stop()
	began = time.Now()
	if _, _, err := b.Acquire(t.Context(), request(registry.KindManifest)); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("%v, %s after the other was stopped", err, time.Since(began))
	}
}

// TestSlotsWithoutDatabase: what is under way goes on while the lease lasts, and ends before others take the slots.
func TestSlotsWithoutDatabase(t *testing.T) {
	t.Parallel()
	servers := clustertest.Start(t)
	node := servers.Node(t, "a", 0)
	short := func(b *Budget) { b.leased, b.trust = 3*time.Second, 2*time.Second }
	a, _ := process(t, node.Store, 1, short)
	b, _ := process(t, servers.Store, 1, short)
	held, release, err := a.Acquire(t.Context(), request(registry.KindBlob))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	node.Cables.Cut()
	got := make(chan error, 1)
	go func() {
		_, release, err := b.Acquire(t.Context(), request(registry.KindBlob))
		if err == nil {
			if held.Err() == nil {
				err = errors.New("two requests under way")
			}
			release()
		}
		got <- err
	}()
	<-held.Done()
	if d := time.Since(began); d < time.Second/2 || d > 3*time.Second || fault.KindOf(context.Cause(held)) != fault.Unavailable {
		t.Errorf("after %s the request ends: %v", d, context.Cause(held))
	}
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
	t.Logf("another has the slot after %s", time.Since(began))
	// Who waits is told why, and gets a slot as soon as the database is there again.
	a.mu.Lock()
	err = refused(host, a.away(), comeAgain)
	a.mu.Unlock()
	if !strings.Contains(err.Error(), errAway) {
		t.Errorf("told: %v", err)
	}
	node.Cables.Postgres.Mend()
	_, release, err = a.Acquire(t.Context(), request(registry.KindBlob))
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestSlotLateCancel: a request that is told to stop gets no slot, and takes none from others.
func TestSlotLateCancel(t *testing.T) {
	b, _ := process(t, clustertest.Store(t), 1, nil)
	_, release, err := b.Acquire(t.Context(), request(registry.KindManifest))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Acquire(ctx, request(registry.KindManifest)); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v", err)
	}
	release()
	if _, _, err := b.Acquire(t.Context(), request(registry.KindManifest)); err != nil {
		t.Error(err)
	}
}

// TestDefaultSlots: strangers have a limit, this machine has none.
func TestDefaultSlots(t *testing.T) {
	b, err := New(Config{Slots: map[string]int{"registry.example": 7, "large.example": 0}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"registry.example": 7, "large.example": 0, "stranger.example": DefaultSlots, "127.0.0.1:5000": 0, "localhost:5000": 0, "[::1]:5000": 0,
	} {
		if got := b.limit(host); got != want {
			t.Errorf("%s: %d, want %d", host, got, want)
		}
	}
}

// BenchmarkAcquire is what a request costs that gets a slot: its lease is there.
func BenchmarkAcquire(b *testing.B) {
	budget, err := New(Config{Store: clustertest.Store(b), Slots: map[string]int{host: 64}})
	if err != nil {
		b.Fatal(err)
	}
	clustertest.Go(b, budget.Run)
	for b.Loop() {
		_, release, err := budget.Acquire(b.Context(), request(registry.KindManifest))
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
