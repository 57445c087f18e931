package budget

import (
	"context"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
)

const (
	// leaseTime is how long a lease lasts that is not renewed, and trustTime how long its holder counts on it, as measured from before
	// it asked.
	leaseTime = 20 * time.Second
	trustTime = 15 * time.Second
	// starveInterval is how often a process asks for slots that has none and wants some.
	starveInterval = 200 * time.Millisecond
	// firstBatch is how many slots are asked for at first. It doubles each time that there are too few.
	firstBatch = 4
)

// leaseAll leases slots as they are wanted and renews the leases until ctx is done, and then gives them back.
func (b *Budget) leaseAll(ctx context.Context) {
	renewed := time.Now()
	for {
		timer := time.NewTimer(b.nextLease(renewed))
		var done bool
		select {
		case <-ctx.Done():
			done = true
		case <-b.wanted:
		case <-timer.C:
		}
		timer.Stop()
		if done {
			b.giveBack(ctx)
			return
		}
		all := time.Since(renewed) >= noticeInterval
		if all {
			renewed = time.Now()
		}
		wishes := b.wishes(all)
		if len(wishes) > 0 {
			b.report(ctx, "lease slots", b.lease(ctx, wishes))
		}
	}
}

// nextLease returns how long to wait before the next statement.
func (b *Budget) nextLease(renewed time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := time.Until(renewed.Add(noticeInterval))
	for _, s := range b.slots {
		if s.starves() && b.away() == "" {
			return min(next, starveInterval)
		}
	}
	return next
}

// wishes returns what this process wants of all hosts, or of those of which it needs more than it asked for.
func (b *Budget) wishes(all bool) []store.SlotWish {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []store.SlotWish
	for _, s := range b.slots {
		want := max(s.peak, s.demand())
		switch {
		case all:
			s.peak = s.demand()
		case want > s.asked:
			want = min(s.limit, max(want, 2*s.asked, firstBatch))
		case !s.starves():
			continue
		}
		s.held = min(s.held, max(s.used, min(s.share, want)))
		if s.term == nil {
			s.held = 0 // what is used is about to end
		}
		s.asked = want
		out = append(out, store.SlotWish{SlotUse: s.use, Limit: s.limit, Keep: s.held, Want: want})
	}
	return out
}

// lease asks for slots.
func (b *Budget) lease(ctx context.Context, wishes []store.SlotWish) error {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	sent := time.Now()
	leases, err := b.config.Store.LeaseSlots(ctx, b.holder, b.leased, wishes)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range leases {
		b.renew(l, sent.Add(b.trust))
	}
	return nil
}

// renew notes a lease. b.mu is held.
func (b *Budget) renew(l store.SlotLease, trusted time.Time) {
	s := b.slots[l.SlotUse]
	if l.Held == 0 && s.asked == 0 && s.demand() == 0 {
		s.drop(context.Canceled) // nobody is there to hear it
		delete(b.slots, l.SlotUse)
		return
	}
	s.held, s.share, s.trusted = l.Held, l.Share, trusted
	if s.term == nil {
		s.term, s.end = context.WithCancelCause(context.Background())
		s.lapse = time.AfterFunc(time.Until(trusted), func() { b.lapsed(s) })
	} else {
		s.lapse.Reset(time.Until(trusted))
	}
	s.serve()
}

// giveBack ends what is under way, and gives all slots back.
func (b *Budget) giveBack(ctx context.Context) {
	b.mu.Lock()
	var wishes []store.SlotWish
	for _, s := range b.slots {
		s.drop(fault.New(fault.Canceled, "ask", s.use.Host, context.Cause(ctx)))
		wishes = append(wishes, store.SlotWish{SlotUse: s.use, Limit: s.limit})
	}
	b.mu.Unlock()
	if len(wishes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTime)
	defer cancel()
	_, _ = b.config.Store.LeaseSlots(ctx, b.holder, b.leased, wishes) // else they come back when the leases end
}
