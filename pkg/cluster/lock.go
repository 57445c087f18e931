package cluster

import (
	"context"
	"errors"

	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// locksPrefix is where locks are kept in etcd, and lockTTL how long one of a process that died holds, in seconds.
const (
	locksPrefix = "/trawl/locks/"
	lockTTL     = 15
)

// TryLock takes the lock of that name, cluster-wide, without waiting. The context that it returns ends when the lock
// is lost. Where another process has it, the error is a [fault.Conflict].
func (c *Cluster) TryLock(ctx context.Context, name string) (context.Context, func(), error) {
	session, err := concurrency.NewSession(c.Etcd, concurrency.WithTTL(lockTTL), concurrency.WithContext(ctx))
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, "lock", name, err)
	}
	mutex := concurrency.NewMutex(session, locksPrefix+name)
	if err := mutex.TryLock(ctx); err != nil {
		session.Close()
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
		session.Close()
	}, nil
}
