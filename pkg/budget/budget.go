// Package budget holds requests to registries within what each of them allows, together with all other processes of the
// cluster.
//
// It speaks to no registry: package registry calls it before each request and after each answer.
//
// # What is shared, and how
//
// An account is what a registry counts by: a host, a kind of request, and whose credential is used. Four things are shared by
// way of Postgres, none of which costs a round trip for each request:
//
// A rate for each account, where one is configured for the host: processes draw requests from one bucket in batches of about
// [batchTime]'s worth. In no second are more made than two seconds' worth, however many processes there are.
//
// A ration, where a registry tells how many requests remain: of these at most a tenth is used in a second, and where none
// remain, one request now and then asks whether that is still so; see [told]. It is drawn as a rate is.
//
// A pause: a registry that answers 429 is left alone by this process at once, and by all others within [noticeInterval],
// for as long as it says. What does not fit into a short wait fails with a [fault.RateLimited] that says when to come again;
// whoever has the job parks it, and no attempt is counted.
//
// Slots: each request that is under way to a host holds one until its answer has been read or closed, and there are
// [DefaultSlots] of a host for all accounts and processes together, or as many as are configured. Processes lease them in
// batches, as many each as are wanted and there are, and a quarter is kept from blobs, which take longest. A lease is renewed
// every second, or several times where somebody wants more than there are, and lasts for [leaseTime]: then the slots of a process
// that was killed are there for others. A process that could not renew its leases trusts them for [trustTime] only, which is less:
// then it ends the requests that are under way and makes no more. One that is stopped (SIGSTOP) past the end of its leases does so
// when it goes on; until then its connections are there besides those of others.
//
// # When Postgres is away
//
// Requests go on within what was drawn and leased, and then wait, and are refused as [fault.RateLimited] with that as the reason.
// Transfers that were ended are taken up again where they were.
package budget

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// Config says what budgets there are.
type Config struct {
	Store *store.Store
	// Rates are the requests of each kind that all processes together may make to a host in a second with one credential:
	// {"registry.example": 50}. A host that is not listed has no rate of ours.
	Rates map[string]float64
	// Slots are the requests that all processes together may have under way to a host at once: {"registry.example": 8}; 0 is as
	// many as they like. A host that is not listed has [DefaultSlots]; this machine has no limit.
	Slots map[string]int
	// Pause is how long a registry is left alone that answers 429 and does not say for how long. Zero means ten seconds.
	Pause time.Duration
	// Logger gets what goes wrong. Nil means nobody does.
	Logger *slog.Logger
}

// DefaultSlots is how many requests all processes together have under way to a host that is not configured: what a dozen workers with
// default settings make use of, and forty machines that pull an image at once, three layers each. Beyond that, more workers are no
// faster with one registry until somebody who knows it configures more.
const DefaultSlots = 128

const (
	// noticeInterval is how often what registries told is read and written, and leases are renewed.
	noticeInterval = time.Second
	// maxWait is the longest wait for a rate or a pause inside a request; what takes longer is for the caller to plan.
	maxWait = 5 * time.Second
	// defaultPause is [Config.Pause] where it is not set.
	defaultPause = 10 * time.Second
	// statementTime is the longest that the database may take to answer.
	statementTime = 3 * time.Second
	// maxRate is the most requests a second that are counted. A registry that allows more has no limit that matters.
	maxRate = 100_000
)

// Budget is this process's part in all budgets. It is safe for concurrent use, and good for nothing unless [Budget.Run] runs.
type Budget struct {
	config Config
	log    *slog.Logger
	holder string        // this process, among those that lease slots
	leased time.Duration // how long a lease lasts
	trust  time.Duration // and how long it is trusted
	wanted chan struct{} // more slots are, than this process asked for
	news   chan struct{} // there are, which others should hear at once

	mu     sync.Mutex
	purses map[store.Account]*purse
	notes  map[store.Account]store.Budget // to be written
	slots  map[store.SlotUse]*slots

	failing map[string]time.Time // statements that the database did not answer last, and when that was
}

// New returns a Budget. Its error is a [fault.Invalid] that names a rate or a number of slots that is none.
func New(config Config) (*Budget, error) {
	config.Rates, config.Slots = byName(config.Rates), byName(config.Slots)
	for host, rate := range config.Rates {
		if !(rate > 0 && rate <= maxRate) {
			return nil, fault.Newf(fault.Invalid, "configure rate of", host, "%v requests a second: want more than 0, and %d at most", rate, maxRate)
		}
	}
	for host, n := range config.Slots {
		if n < 0 || n > maxSlots {
			return nil, fault.Newf(fault.Invalid, "configure slots of", host, "%d requests at once: want 0 to %d", n, maxSlots)
		}
	}
	if config.Pause == 0 {
		config.Pause = defaultPause
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Budget{
		config: config, log: config.Logger, holder: uuid.NewString(), leased: leaseTime, trust: trustTime, wanted: make(chan struct{}, 1), news: make(chan struct{}, 1),
		purses: make(map[store.Account]*purse), notes: make(map[store.Account]store.Budget), slots: make(map[store.SlotUse]*slots),
		failing: make(map[string]time.Time),
	}, nil
}

// accountOf returns the account that a request counts for.
func accountOf(r registry.Request) store.Account {
	return store.Account{Host: nameOf(r.Host), Kind: string(r.Kind), Name: r.Account}
}

// nameOf returns the name under which a host is counted, however those who ask for it write that.
func nameOf(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }

// byName returns what is configured of hosts by their names.
func byName[N any](hosts map[string]N) map[string]N {
	out := make(map[string]N, len(hosts))
	for host, n := range hosts {
		out[nameOf(host)] = n
	}
	return out
}

// Acquire is for [registry.Config]: it waits until a request fits into all budgets, for a few seconds or, where all slots are in use,
// half a minute. No slot is held while something else is waited for.
func (b *Budget) Acquire(ctx context.Context, r registry.Request) (held context.Context, release func(), err error) {
	a := accountOf(r)
	for waited := time.Duration(0); ; {
		wait := b.closed(a)
		if wait == 0 {
			if held, release, err = b.takeSlot(ctx, store.SlotUse{Host: a.Host, Blobs: r.Kind == registry.KindBlob}); err != nil {
				return nil, nil, err
			}
			if wait, err = b.try(ctx, a); err == nil && wait == 0 {
				return held, release, nil
			}
			release()
			if err != nil {
				return nil, nil, err
			}
		}
		if waited += wait; waited > maxWait {
			return nil, nil, b.refusal(a, wait)
		}
		if err := await(ctx, nil, wait, a.Host); err != nil {
			return nil, nil, err
		}
	}
}

// stopped is the error of a request that was waiting when it was told to stop.
func stopped(ctx context.Context, host string) error {
	return fault.Wrap("wait for", "budget of "+host, ctx.Err())
}

// refusal is the error of a request of an account that does not fit.
func (b *Budget) refusal(a store.Account, wait time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var paused, told string
	now := time.Now()
	if p := b.purses[a]; p != nil {
		if told = p.told.reason(now); now.Before(p.paused) {
			paused = p.reason
		}
	}
	return refused(a.Host, cmp.Or(paused, b.away(), told, "the budget for "+a.Kind+" requests is used up"), wait)
}

// refused is the error of a request that does not fit for this reason.
func refused(host, reason string, after time.Duration) error {
	err := fault.New(fault.RateLimited, "ask", host, errors.New(reason))
	err.After = after
	return err
}

// away returns that the database does not answer, if that is so. A statement that is not made any more tells nothing of that. b.mu is
// held.
func (b *Budget) away() string {
	for _, at := range b.failing {
		if time.Since(at) < 2*(noticeInterval+statementTime) {
			return errAway
		}
	}
	return ""
}

// errAway says why nothing is asked when the database is away.
const errAway = "the database does not answer, and without it nobody knows how much others ask of the registry"

// Run shares what this process was told with the others, hears what they were, and leases slots, until ctx is done. Then it gives
// them back, and ends requests that are under way. Its error is nil.
func (b *Budget) Run(ctx context.Context) error {
	var leasing sync.WaitGroup
	leasing.Go(func() { b.leaseAll(ctx) })
	defer leasing.Wait()
	ticker := time.NewTicker(noticeInterval)
	defer ticker.Stop()
	for {
		b.report(ctx, "share what registries told", b.exchange(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-b.news:
		}
	}
}

// report notes whether a statement could be made, and logs when that changes.
func (b *Budget) report(ctx context.Context, what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, failed := b.failing[what]
	switch {
	case ctx.Err() != nil:
	case err == nil && failed:
		delete(b.failing, what)
		b.log.Info("budgets of registries are shared again", "step", what)
	case err != nil:
		b.failing[what] = time.Now()
		if !failed {
			b.log.Warn("budgets of registries cannot be shared, so requests may have to wait", "step", what, "error", err)
		}
	}
}
