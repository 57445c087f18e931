package cluster

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// locksPrefix is where locks are kept in etcd, and lockTTL how long one of a process that died holds.
const (
	locksPrefix = "/trawl/locks/"
	lockTTL     = 15 * time.Second
)

// NewSession opens a session with etcd: a lease that is kept alive. ctx bounds the opening alone: the session is its
// owner's to close, which takes its keys away at once, and can be done when ctx has ended.
func NewSession(ctx context.Context, client *clientv3.Client, ttl time.Duration) (*concurrency.Session, error) {
	lease, err := client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open session with", "etcd", err)
	}
	session, err := concurrency.NewSession(client, concurrency.WithLease(lease.ID), concurrency.WithTTL(int(ttl/time.Second)),
		concurrency.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open session with", "etcd", err)
	}
	return session, nil
}

// TryLock takes the lock of that name, cluster-wide, without waiting. The context that it returns ends when the lock
// is lost. Where another process has it, the error is a [fault.Conflict].
func (c *Cluster) TryLock(ctx context.Context, name string) (context.Context, func(), error) {
	session, err := NewSession(ctx, c.Etcd, lockTTL)
	if err != nil {
		return nil, nil, fault.Wrap("lock", name, err)
	}
	mutex := concurrency.NewMutex(session, locksPrefix+name)
	if err := mutex.TryLock(ctx); err != nil {
		_ = session.Close()
		if errors.Is(err, concurrency.ErrLocked) {
			return nil, nil, fault.New(fault.Conflict, "lock", name, err)
		}
		return nil, nil, fault.New(fault.Unavailable, "lock", name, err)
	}
	held, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-session.Done():
			cancel(fault.New(fault.Unavailable, "hold lock", name, errLost))
		case <-held.Done():
		}
	}()
	return held, func() {
		cancel(nil)
		_ = session.Close()
	}, nil
}
