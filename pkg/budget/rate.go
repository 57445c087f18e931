package budget

import (
	"context"
	"math"
	"time"

	"github.com/trawl-scanner/trawl/pkg/store"
)

const (
	// batchTime is how much of a rate one batch is, and burstTime how much of it may be saved up.
	batchTime = 250 * time.Millisecond
	burstTime = 500 * time.Millisecond
	// stale is how long requests that were drawn are good for: a process that draws and then rests must not come back with more.
	stale = 500 * time.Millisecond
)

// purse is what this process has of an account.
type purse struct {
	drawing chan struct{} // holds a token while somebody draws

	// Guarded by Budget.mu.
	used   time.Time // when this process last asked, or was answered; zero if it only heard of it from others
	left   int       // requests that were drawn
	drawn  time.Time
	dry    time.Time // there is nothing to draw until then
	paused time.Time // until then
	reason string
	told   told
}

// maxAccounts bounds what is kept: hosts are named by whoever submits something.
const maxAccounts = 1000

// purse returns the purse of an account. Where there are too many, one that was not used for longest is forgotten. b.mu is held.
func (b *Budget) purse(a store.Account) *purse {
	p := b.purses[a]
	if p != nil {
		return p
	}
	if len(b.purses) >= maxAccounts {
		var idle store.Account
		first := true
		for account, p := range b.purses {
			if first || p.used.Before(b.purses[idle].used) {
				idle, first = account, false
			}
		}
		delete(b.purses, idle)
	}
	p = &purse{drawing: make(chan struct{}, 1)}
	b.purses[a] = p
	return p
}

// rate returns how many requests a second all processes together may make; 0 is as many as they like. b.mu is held.
func (b *Budget) rate(a store.Account, p *purse, now time.Time) float64 {
	configured, ration := b.config.Rates[a.Host], p.told.ration(now)
	if configured == 0 || ration == 0 {
		return configured + ration
	}
	return min(configured, ration)
}

// closed returns for how long no request of an account may be made, as far as is known.
func (b *Budget) closed(a store.Account) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purses[a]
	if p == nil {
		return 0
	}
	p.used = time.Now()
	return p.closed(b.rate(a, p, p.used), p.used)
}

// closed returns for how long no request may be made at that rate.
func (p *purse) closed(rate float64, now time.Time) time.Duration {
	wait := max(0, p.paused.Sub(now))
	if rate > 0 {
		wait = max(wait, p.dry.Sub(now))
	}
	return wait
}

// try takes one request. It returns how long to wait before the next try, 0 where it got one.
func (b *Budget) try(ctx context.Context, a store.Account) (wait time.Duration, err error) {
	p, _, wait, ok := b.take(a)
	if ok || wait > 0 {
		return wait, nil
	}
	select {
	case p.drawing <- struct{}{}:
		defer func() { <-p.drawing }()
	case <-ctx.Done():
		return 0, stopped(ctx, a.Host)
	}
	_, rate, wait, ok := b.take(a)
	if ok || wait > 0 { // somebody else has drawn meanwhile
		return wait, nil
	}
	burst := int(max(1, math.Round(rate*burstTime.Seconds())))
	want := int(max(1, math.Round(rate*batchTime.Seconds())))
	soon, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	asked := time.Now()
	got, wait, err := b.config.Store.DrawBudget(soon, a, rate, burst, want)
	if ctx.Err() != nil {
		return 0, stopped(ctx, a.Host)
	}
	b.report(ctx, "draw requests", err)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		wait = noticeInterval
	}
	if got == 0 {
		wait = max(wait, time.Millisecond)
		p.dry = time.Now().Add(wait)
		return wait, nil
	}
	p.left, p.drawn = got-1, asked
	return 0, nil
}

// take takes a request from what this process has. Where it has none, and is not told to wait, it has to draw, at that rate.
func (b *Budget) take(a store.Account) (p *purse, rate float64, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p = b.purses[a]; p == nil && b.config.Rates[a.Host] == 0 {
		return nil, 0, 0, true
	}
	p = b.purse(a)
	now := time.Now()
	p.used = now
	rate = b.rate(a, p, now)
	switch wait = p.closed(rate, now); {
	case wait > 0:
		return p, rate, wait, false
	case rate == 0:
		return p, 0, 0, true
	case p.left > 0 && now.Sub(p.drawn) < stale:
		p.left--
		return p, rate, 0, true
	}
	return p, rate, 0, false
}
