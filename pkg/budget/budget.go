// Package budget holds requests to registries within what each of them allows, together with all other processes of the
// cluster.
//
// It speaks to no registry: package registry calls it before each request and after each answer.
//
// # What is shared, and how
//
// An account is a host and a kind of request, for registries count manifests and blobs apart. Two things are shared by way of
// Postgres:
//
// A rate, where one is configured for the host: processes draw requests from one bucket in batches of about half a
// second's worth, so that there is one short statement for a batch and none for most requests.
//
// A pause: a registry that answers 429 is left alone by this process at once, and by all others within [noticeInterval],
// for as long as it says. What does not fit into a short wait fails with a [fault.RateLimited] that says when to come again;
// whoever has the job parks it, and no attempt is counted.
//
// All processes are taken to ask as one account with a registry. Where they have different credentials, they are more
// careful than they need to be.
package budget

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// Config says what budgets there are.
type Config struct {
	Store *store.Store
	// Rates are the requests of each kind that all processes together may make to a host in a second: {"registry.example": 50}.
	// A host that is not listed has no rate of ours.
	Rates map[string]float64
	// Logger gets what goes wrong. Nil means nobody does.
	Logger *slog.Logger
}

const (
	// noticeInterval is how often pauses are read and written.
	noticeInterval = time.Second
	// batchTime is how much of a rate one batch is, and burstTime how much of it may be saved up.
	batchTime = 500 * time.Millisecond
	burstTime = time.Second
	// stale is how long requests that were drawn are good for: a process that draws and then rests must not come back with more.
	stale = 2 * time.Second
	// maxWait is the longest wait inside a request; what takes longer is for the caller to plan.
	maxWait = 5 * time.Second
	// defaultPause is how long a registry is left alone that answers 429 and does not say for how long.
	defaultPause = 10 * time.Second
)

// account is a host and a kind of request.
type account struct{ host, kind string }

// purse is what this process has of an account.
type purse struct {
	drawing chan struct{} // holds a token while somebody draws

	// Guarded by Budget.mu.
	left   int
	drawn  time.Time
	paused time.Time // until then
	reason string
}

// Budget is this process's part in all budgets. It is safe for concurrent use.
type Budget struct {
	config Config
	log    *slog.Logger

	mu     sync.Mutex
	purses map[account]*purse
	notes  map[account]store.Budget // to be written
}

// New returns a Budget. Its error is a [fault.Invalid] that names a rate that is none.
func New(config Config) (*Budget, error) {
	for host, rate := range config.Rates {
		if math.IsNaN(rate) || math.IsInf(rate, 0) || rate <= 0 {
			return nil, fault.Newf(fault.Invalid, "configure rate of", host, "%v requests a second: want more than 0", rate)
		}
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Budget{
		config: config, log: config.Logger, purses: make(map[account]*purse), notes: make(map[account]store.Budget),
	}, nil
}

// maxAccounts bounds what is kept: hosts are named by whoever submits something.
const maxAccounts = 1000

// purse returns the purse of an account, or nil where there are too many. b.mu is held.
func (b *Budget) purse(a account) *purse {
	p := b.purses[a]
	if p != nil {
		return p
	}
	if len(b.purses) >= maxAccounts {
		now := time.Now()
		maps.DeleteFunc(b.purses, func(a account, p *purse) bool { return b.config.Rates[a.host] == 0 && now.After(p.paused) })
	}
	if len(b.purses) >= maxAccounts && b.config.Rates[a.host] == 0 {
		return nil
	}
	p = &purse{drawing: make(chan struct{}, 1)}
	b.purses[a] = p
	return p
}

// Acquire is for [registry.Config]: it waits until a request fits into the budget, for a few seconds at most.
func (b *Budget) Acquire(ctx context.Context, r registry.Request) (release func(), err error) {
	a := account{r.Host, string(r.Kind)}
	deadline := time.Now().Add(maxWait)
	for {
		wait, err := b.try(ctx, a)
		if err != nil || wait == 0 {
			return nil, err
		}
		if time.Now().Add(wait).After(deadline) {
			return nil, b.refusal(a, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fault.Wrap("wait for", "budget of "+a.host, ctx.Err())
		}
	}
}

// refusal is the error of a request that does not fit.
func (b *Budget) refusal(a account, wait time.Duration) error {
	b.mu.Lock()
	var reason string
	if p := b.purses[a]; p != nil {
		reason = p.reason
	}
	b.mu.Unlock()
	err := fault.New(fault.RateLimited, "ask", a.host, errors.New(cmp.Or(reason, "the budget for "+a.kind+" requests is used up")))
	err.After = wait
	return err
}

// try takes one request. It returns how long to wait before the next try, 0 where it got one.
func (b *Budget) try(ctx context.Context, a account) (wait time.Duration, err error) {
	rate := b.config.Rates[a.host]
	p, wait, ok := b.take(a, rate)
	if ok || wait > 0 {
		return wait, nil
	}
	select {
	case p.drawing <- struct{}{}:
		defer func() { <-p.drawing }()
	case <-ctx.Done():
		return 0, fault.Wrap("wait for", "budget of "+a.host, ctx.Err())
	}
	if _, wait, ok := b.take(a, rate); ok || wait > 0 { // somebody else has drawn meanwhile
		return wait, nil
	}
	burst := int(max(1, math.Round(rate*burstTime.Seconds())))
	want := int(max(1, math.Round(rate*batchTime.Seconds())))
	got, wait, err := b.config.Store.DrawBudget(ctx, a.host, a.kind, rate, burst, want)
	if err != nil {
		return 0, err
	}
	if got == 0 {
		return max(wait, time.Millisecond), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p.left, p.drawn = got-1, time.Now()
	return 0, nil
}

// take takes a request from what this process has. Where it has none, and is not told to wait, it has to draw.
func (b *Budget) take(a account, rate float64) (p *purse, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p = b.purses[a]; p == nil && rate == 0 {
		return nil, 0, true
	}
	p = b.purse(a)
	now := time.Now()
	switch {
	case now.Before(p.paused):
		return p, p.paused.Sub(now), false
	case rate == 0:
		return p, 0, true
	case p.left > 0 && now.Sub(p.drawn) < stale:
		p.left--
		return p, 0, true
	}
	return p, 0, false
}

// Observe is for [registry.Config]: it notes what a registry tells of its limits. It does not block.
func (b *Budget) Observe(r registry.Response) {
	limited := r.Status == http.StatusTooManyRequests
	if !limited && r.Remaining < 0 {
		return
	}
	a := account{r.Host, string(r.Kind)}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	note, ok := b.notes[a]
	if !ok && len(b.notes) >= maxAccounts {
		return
	}
	if !ok {
		note = store.Budget{Host: a.host, Kind: a.kind, Limit: -1, Remaining: -1}
	}
	if r.Remaining >= 0 {
		note.Limit, note.Remaining, note.Window, note.Observed = r.Limit, r.Remaining, r.Window, now.UTC()
	}
	if limited {
		until := now.Add(cmp.Or(r.RetryAfter, defaultPause))
		p := b.purse(a)
		if p == nil {
			return
		}
		if until.After(p.paused) {
			p.paused, p.reason = until, "the registry answered 429 to a request for a "+a.kind
		}
		note.PausedUntil, note.Reason = p.paused.UTC(), p.reason
	}
	b.notes[a] = note
}

// Run shares what this process was told with the others, and hears what they were, until ctx is done.
func (b *Budget) Run(ctx context.Context) error {
	ticker := time.NewTicker(noticeInterval)
	defer ticker.Stop()
	var troubled bool
	for {
		err := b.exchange(ctx)
		if err != nil && ctx.Err() == nil && !troubled {
			b.log.Warn("cannot share the budgets of registries, will try again", "error", err)
		}
		troubled = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// exchange writes and reads once.
func (b *Budget) exchange(ctx context.Context) error {
	b.mu.Lock()
	notes := b.notes
	b.notes = make(map[account]store.Budget)
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
		if !k.PausedUntil.After(time.Now()) {
			continue
		}
		if p := b.purse(account{k.Host, k.Kind}); p != nil && k.PausedUntil.After(p.paused) {
			p.paused, p.reason = k.PausedUntil, k.Reason
		}
	}
	return nil
}
