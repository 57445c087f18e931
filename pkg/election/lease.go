package election

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// lease is a lease in etcd that this process renews, and distrusts before etcd does.
type lease struct {
	id     clientv3.LeaseID
	client *clientv3.Client
	// trusted ends when the lease may have: the moment the last renewal that was answered had been sent, plus the time to
	// live, less the margin.
	trusted context.Context
	cancel  context.CancelCauseFunc
	stop    context.CancelFunc // ends renewing
	renewed chan struct{}      // closed when renewing has ended
}

// Of its time to live, a lease is renewed after a fifth, and distrusted a fifth before the end.
const fraction = 5

// takeLease takes a lease and renews it until end is called or renewing fails for too long. It is renewed beyond the end of
// ctx: who leads may need a moment to stop, in which nobody else should begin.
func takeLease(ctx context.Context, config Config) (*lease, error) {
	sent := time.Now()
	asking, stop := context.WithTimeout(ctx, config.TTL)
	defer stop()
	granted, err := config.Client.Grant(asking, int64(config.TTL/time.Second))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "take lease for", config.Prefix, err)
	}
	l := &lease{id: granted.ID, client: config.Client, renewed: make(chan struct{})}
	l.trusted, l.cancel = context.WithCancelCause(ctx)
	keep, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stopKeeping
	go l.renew(keep, sent, config.TTL)
	return l, nil
}

// renew renews the lease until keep is done or the lease is in doubt.
func (l *lease) renew(keep context.Context, sent time.Time, ttl time.Duration) {
	defer close(l.renewed)
	trust := ttl - ttl/fraction
	doubt := time.AfterFunc(time.Until(sent.Add(trust)), func() {
		l.cancel(fault.New(fault.Unavailable, "lead", "", ErrLeaseDoubtful))
		l.stop()
	})
	defer doubt.Stop()
	ticker := time.NewTicker(ttl / fraction)
	defer ticker.Stop()
	for {
		select {
		case <-keep.Done():
			return
		case <-ticker.C:
		}
		sent = time.Now()
		asking, stop := context.WithTimeout(keep, ttl/fraction)
		_, err := l.client.KeepAliveOnce(asking, l.id)
		stop()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) { // it has ended
			l.cancel(fault.New(fault.Unavailable, "lead", "", err))
			return
		}
		// A timer that has fired has canceled the context: an answer that comes late changes nothing.
		if err == nil && doubt.Stop() {
			doubt.Reset(time.Until(sent.Add(trust)))
		}
	}
}

// end gives the lease back, and with it the candidate's key, so that a successor need not wait.
func (l *lease) end() {
	l.cancel(nil)
	l.stop()
	<-l.renewed
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.trusted), time.Second)
	defer cancel()
	_, _ = l.client.Revoke(ctx, l.id) // where etcd is away, the lease ends by itself
}
