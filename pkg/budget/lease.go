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
	// Where somebody wants more than there is, leases are renewed more often, so that whoever has no use for a slot gives it back
	// soon: every rivalInterval for each rival, so that the database is asked no more often than that, and minInterval at least.
	rivalInterval = 10 * time.Millisecond
	minInterval   = 100 * time.Millisecond
	// firstBatch is how many slots are asked for at first. It doubles each time that there are too few.
	firstBatch = 4
)

// leaseAll leases slots as they are wanted and renews the leases until ctx is done, and then gives them back.
func (b *Budget) leaseAll(ctx context.Context) {
	for {
		if wishes := b.wishes(time.Now()); len(wishes) > 0 {
			b.report(ctx, "lease slots", b.lease(ctx, wishes))
		}
		timer := time.NewTimer(b.nextLease())
		select {
		case <-b.wanted:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			b.giveBack(ctx)
			return
		}
		timer.Stop()
	}
}

// nextLease returns how long to wait before the next statement, unless more slots are wanted.
func (b *Budget) nextLease() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := noticeInterval
	if b.away() == "" {
		for _, s := range b.slots {
			next = min(next, time.Until(s.renewed.Add(s.interval())))
		}
	}
	return next
}

// wishes returns what this process wants of those hosts whose lease is to be renewed, or of which it needs more than it asked for.
func (b *Budget) wishes(now time.Time) (out []store.SlotWish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slots {
		want := max(s.peak, s.demand())
		due, grows := now.Sub(s.renewed) >= s.interval(), want > s.asked
		if !due && !grows {
			continue
		}
		if due {
			s.peak, s.renewed = s.demand(), now
		}
		if grows && s.rivals == 0 {
			want = min(s.limit, max(want, 2*s.asked, firstBatch))
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

// interval is for how long a lease is not renewed.
func (s *slots) interval() time.Duration {
	if s.rivals == 0 {
		return noticeInterval
	}
	return min(noticeInterval, max(minInterval, time.Duration(s.rivals)*rivalInterval))
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
	s.held, s.share, s.rivals, s.trusted = l.Held, l.Share, l.Rivals, trusted
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
