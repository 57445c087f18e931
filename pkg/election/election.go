// Package election provides one leader at a time among processes that share an etcd, with terms to fence what a leader
// of the past may still try.
//
// It does no leader's work, and what is led has no meaning here.
//
// # Guarantees
//
// A leader's context ends before its lease can: it trusts its lease until the moment at which the last renewal that
// was answered had been sent, plus the time to live, less a margin for clocks that run apart. So the contexts of two
// leaders do not overlap as long as clocks run equally fast, within a fifth. What does not look at its context can
// outlast it: writes to etcd go through [Term.Put], which etcd refuses to a leader of the past, and writes elsewhere
// have to carry the term and be refused there.
//
// Terms only ever grow, within one etcd cluster: a term is the revision at which the leader's key was created.
//
// A leader that steps down makes room at once; one that dies is succeeded when its lease has ended and etcd has
// noticed, which takes up to a second more.
//
// # Format
//
// A candidate is a key below the prefix, named by its lease. Of these the oldest leads. The value is a [Leader] in
// JSON: {"id", "since", "info"}.
package election

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// ErrNotLeader is wrapped by the error of [Term.Put] when the term is over. Trying again does not help.
var ErrNotLeader = errors.New("the term is over")

// ErrLeaseDoubtful is the cause of the end of a leader's context when its lease was not renewed in time.
var ErrLeaseDoubtful = errors.New("the lease could not be renewed in time")

// Config says for what and as whom to stand.
type Config struct {
	Client *clientv3.Client
	Prefix string // of the candidates' keys; without a slash at its end
	ID     string // of this candidate, for people
	// TTL is the time to live of the lease: how long a leader that died is waited for. It is whole seconds, 2 at least.
	// Zero means five seconds.
	TTL time.Duration
	// Info is JSON that others can read of the leader. Nil means none.
	Info json.RawMessage
	// Report, if not nil, is told what went wrong: etcd that does not answer, a lease in doubt, the error of lead. All of it is
	// tried again. It must not block.
	Report func(error)
}

// Leader is who leads.
type Leader struct {
	ID    string          `json:"id"`
	Since time.Time       `json:"since"` // it stood for election, UTC
	Info  json.RawMessage `json:"info,omitempty"`
	Term  int64           `json:"-"`
}

// Term is the time of one leader. Its number is larger than those of all before.
type Term struct {
	Number int64

	client *clientv3.Client
	key    string
}

// Run stands for election until ctx is done, and calls lead whenever elected, with a context that ends when ctx does or
// the lease is in doubt, of which [context.Cause] tells. lead then returns as soon as it can: the lease is renewed until it
// does, unless it is in doubt. When lead returns, the candidate steps down, so that another leads within milliseconds, and
// stands again, after a pause if lead failed. Run returns nil once ctx is done; it tries again whatever etcd answers.
func Run(ctx context.Context, config Config, lead func(context.Context, Term) error) error {
	if config.TTL == 0 {
		config.TTL = 5 * time.Second
	}
	if config.TTL < 2*time.Second || config.TTL%time.Second != 0 {
		return fault.Newf(fault.Invalid, "configure", "election", "a time to live of %s: want whole seconds, 2 at least", config.TTL)
	}
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	for pause := shortest; ctx.Err() == nil; {
		elected, err := stand(ctx, config, lead)
		if err != nil && ctx.Err() == nil && config.Report != nil {
			config.Report(err)
		}
		switch {
		case err == nil:
			pause = shortest
			continue
		case elected:
			pause = shortest
		}
		timer := time.NewTimer(pause/2 + time.Duration(rand.Int64N(int64(pause))))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		pause = min(2*pause, longest)
	}
	return nil
}

// stand is one candidacy: until a term is over, or something went wrong.
func stand(ctx context.Context, config Config, lead func(context.Context, Term) error) (elected bool, err error) {
	lease, err := takeLease(ctx, config)
	if err != nil {
		return false, err
	}
	defer lease.end()
	session, err := concurrency.NewSession(config.Client, concurrency.WithLease(lease.id),
		concurrency.WithTTL(int(config.TTL/time.Second)), concurrency.WithContext(lease.trusted))
	if err != nil {
		return false, fault.New(fault.Unavailable, "stand for election at", config.Prefix, err)
	}
	value, err := json.Marshal(Leader{ID: config.ID, Since: time.Now().UTC().Truncate(time.Millisecond), Info: config.Info})
	if err != nil {
		return false, fault.New(fault.Invalid, "encode", "candidate", err)
	}
	e := concurrency.NewElection(session, config.Prefix)
	if err := e.Campaign(lease.trusted, string(value)); err != nil {
		return false, fault.New(fault.Unavailable, "stand for election at", config.Prefix, err)
	}
	return true, lead(lease.trusted, Term{Number: e.Rev(), client: config.Client, key: e.Key()})
}

// Put writes a key, if the term is not over. Errors: one that wraps [ErrNotLeader], of kind Canceled; a fault of kind Unavailable.
func (t Term) Put(ctx context.Context, key string, value []byte) error {
	response, err := t.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.Number)).
		Then(clientv3.OpPut(key, string(value))).Commit()
	if err != nil {
		return fault.New(fault.Unavailable, "write", key, err)
	}
	if !response.Succeeded {
		return fault.New(fault.Canceled, "write", key, ErrNotLeader)
	}
	return nil
}

// Current returns who leads. Where nobody does, the error is a fault of kind NotFound.
func Current(ctx context.Context, client *clientv3.Client, prefix string) (Leader, error) {
	response, err := client.Get(ctx, prefix+"/", clientv3.WithFirstCreate()...)
	if err != nil {
		return Leader{}, fault.New(fault.Unavailable, "ask who leads at", prefix, err)
	}
	if len(response.Kvs) == 0 {
		return Leader{}, fault.Newf(fault.NotFound, "ask who leads at", prefix, "nobody leads")
	}
	var leader Leader
	if err := json.Unmarshal(response.Kvs[0].Value, &leader); err != nil {
		return Leader{}, fault.New(fault.Corrupt, "read who leads at", prefix, err)
	}
	leader.Term = response.Kvs[0].CreateRevision
	return leader, nil
}
