package budget

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

const (
	// maxSlots bounds what may be configured.
	maxSlots = 10_000
	// slotWait is the longest wait for a slot. Whoever waits has nothing better to do, for other hosts have room of their own.
	slotWait = 30 * time.Second
	// comeAgain is when somebody who waited in vain is told to come again.
	comeAgain = 5 * time.Second
)

// slots is what this process has of a host's slots for one use. Its fields are guarded by Budget.mu.
//
// What is held only ever gets less here before the database hears of it, so that it is never less there than it is here.
type slots struct {
	use   store.SlotUse
	limit int // of the host, for all processes

	held    int // leased
	share   int // see [store.SlotLease]
	rivals  int // see there
	used    int // by requests that are under way
	waiting []chan struct{}
	asked   int // how many were wanted last
	peak    int // most that were used and waited for since renewed
	renewed time.Time

	trusted time.Time // until when the lease is
	lapse   *time.Timer
	term    context.Context //nolint:containedctx // ends, with the reason, when the lease is no longer trusted; nil where none is
	end     context.CancelCauseFunc
}

// limit returns how many slots a host has; 0 is as many as one likes.
func (b *Budget) limit(host string) int {
	n, ok := b.config.Slots[host]
	switch {
	case ok:
		return n
	case registry.IsLoopback(host):
		return 0
	}
	return DefaultSlots
}

// takeSlot waits for a slot. It is held until release is called, and the request has to end when the context does that is returned.
func (b *Budget) takeSlot(ctx context.Context, use store.SlotUse) (held context.Context, release func(), err error) {
	limit := b.limit(use.Host)
	if limit == 0 {
		return ctx, func() {}, nil
	}
	b.mu.Lock()
	s := b.slots[use]
	if s == nil {
		s = &slots{use: use, limit: limit}
		b.slots[use] = s
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.serve()
	s.peak = max(s.peak, s.demand())
	if s.demand() > s.asked {
		signal(b.wanted)
	}
	b.mu.Unlock()

	err = await(ctx, turn, slotWait, use.Host)
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(s.waiting, turn); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		if err == nil {
			err = refused(use.Host, cmp.Or(b.away(), "all requests that may be under way to it at once are"), comeAgain)
		}
		return nil, nil, err
	}
	// It has got one, be it at the last moment.
	term := s.term
	if term == nil { // it lapsed at once
		s.used--
		return nil, nil, refused(use.Host, errAway, comeAgain)
	}
	held, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(term, func() { cancel(context.Cause(term)) })
	return held, func() {
		stop()
		cancel(nil)
		b.mu.Lock()
		defer b.mu.Unlock()
		s.used--
		s.held = min(s.held, max(s.used, s.share)) // somebody else waits for what is beyond the share
		s.serve()
	}, nil
}

// await waits for a turn, for so long at most; without one, so long. Its error says that it was told to stop.
func await(ctx context.Context, turn <-chan struct{}, most time.Duration, host string) error {
	select {
	case <-turn:
		return nil
	default:
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-turn:
	case <-timer.C:
	case <-ctx.Done():
		return stopped(ctx, host)
	}
	return nil
}

// demand is how many slots there is use for.
func (s *slots) demand() int { return s.used + len(s.waiting) }

// serve gives slots to those who wait, the first first.
func (s *slots) serve() {
	for s.term != nil && time.Now().Before(s.trusted) && s.used < s.held && len(s.waiting) > 0 {
		s.used++
		close(s.waiting[0])
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
}

// lapsed stops trusting a lease that was not renewed, and ends what is under way.
func (b *Budget) lapsed(s *slots) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.term == nil || time.Now().Before(s.trusted) {
		return
	}
	s.drop(fault.Newf(fault.Unavailable, "ask", s.use.Host, errAway))
}

// drop forgets the lease.
func (s *slots) drop(cause error) {
	if s.term == nil {
		return
	}
	s.lapse.Stop()
	s.end(cause)
	s.term, s.held, s.share, s.asked = nil, 0, 0, 0
}
