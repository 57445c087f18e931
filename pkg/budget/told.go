package budget

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// told is what a registry told last of the requests that an account has left.
//
// Registries tell that in the headers ratelimit-limit ("100;w=21600": 100 in a window of six hours) and ratelimit-remaining, and some,
// Docker Hub among them, do not tell when the window ends, nor whether all requests come back then or some all the time. So:
//
//   - Of what remains a tenth may be used in a second, by all processes together. So it gets less and less, and no process uses
//     what another has used already before it hears of that.
//   - There are always as many as come back on average, limit/window, but one a second at most: each such request asks whether there
//     is more. For 100 in six hours that is one in 216 seconds. It may be answered with 429, and then there is a pause.
//   - A window after the registry told last, what it told is forgotten, and so is a window that is not told after [unknownWindow]. So
//     a registry that stops telling is not waited for. Nor is one that has so many that more than [maxRate] might be used.
type told struct {
	limit, remaining int64 // -1 where not told
	window           time.Duration
	at               time.Time // zero: it told nothing
}

const (
	// spendTime is within how long all that remains would be used if it did not get less.
	spendTime = 10 * time.Second
	// unknownWindow is the window of a registry that tells none, and longestProbe the longest time between two requests that ask
	// whether there is more.
	unknownWindow = time.Minute
	longestProbe  = 15 * time.Minute
)

// ration returns how many requests a second may be made; 0 is as many as one likes.
func (t told) ration(now time.Time) float64 {
	window := cmp.Or(t.window, unknownWindow)
	if t.at.IsZero() || t.remaining < 0 || now.Sub(t.at) > window {
		return 0
	}
	probe := min(window/time.Duration(max(1, t.limit)), longestProbe)
	ration := max(float64(t.remaining)/min(spendTime, window).Seconds(), 1/max(probe, time.Second).Seconds())
	if ration > maxRate {
		return 0
	}
	return ration
}

// reason says why a request has to wait for others to come back; "" where that is not so.
func (t told) reason(now time.Time) string {
	if t.ration(now) == 0 {
		return ""
	}
	return fmt.Sprintf("the registry says that %d of the %d requests in %s remain", t.remaining, t.limit, t.window)
}

// hear notes what was told, unless something was told later.
func (p *purse) hear(t told) {
	if !t.at.After(p.told.at) {
		return
	}
	if t.remaining > p.told.remaining {
		p.dry = time.Time{} // there is more to draw, and sooner
	}
	p.told = t
}

// Observe is for [registry.Config]: it notes what a registry tells of its limits. It does not block.
func (b *Budget) Observe(r registry.Response) {
	limited := r.Status == http.StatusTooManyRequests
	if !limited && r.Remaining < 0 {
		return
	}
	a := accountOf(r.Request)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.purse(a)
	p.used = now
	note, ok := b.notes[a]
	if !ok {
		note = store.Budget{Account: a, Limit: -1, Remaining: -1}
	}
	if r.Remaining >= 0 {
		note.Limit, note.Remaining, note.Window, note.Observed = r.Limit, r.Remaining, r.Window, now.UTC()
		p.hear(told{r.Limit, r.Remaining, r.Window, now})
	}
	if limited {
		if now.After(p.paused) {
			signal(b.news)
		}
		if until := now.Add(cmp.Or(r.RetryAfter, b.config.Pause)); until.After(p.paused) {
			p.paused, p.reason = until, "the registry answered 429 to a request for a "+a.Kind
		}
		note.PausedUntil, note.Reason = p.paused.UTC(), p.reason
	}
	if ok || len(b.notes) < maxAccounts {
		b.notes[a] = note
	}
}

// signal wakes who waits on a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// exchange writes and reads once.
func (b *Budget) exchange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	b.mu.Lock()
	notes := b.notes
	b.notes = make(map[store.Account]store.Budget)
	b.mu.Unlock()
	list := make([]store.Budget, 0, len(notes))
	for _, n := range notes {
		list = append(list, n)
	}
	if err := b.config.Store.NoteBudgets(ctx, list); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		for a, n := range notes {
			if _, newer := b.notes[a]; !newer {
				b.notes[a] = n
			}
		}
		return err
	}
	known, err := b.config.Store.Budgets(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range known {
		b.learn(k, time.Now())
	}
	return nil
}

// learn notes what others were told. b.mu is held.
func (b *Budget) learn(k store.Budget, now time.Time) {
	t := told{k.Limit, k.Remaining, k.Window, k.Observed}
	paused := k.PausedUntil.After(now)
	if !paused && t.ration(now) == 0 {
		return
	}
	p := b.purse(k.Account)
	p.hear(t)
	if paused && k.PausedUntil.After(p.paused) {
		p.paused, p.reason = k.PausedUntil, k.Reason
	}
}
