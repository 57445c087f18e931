package membership

import (
	"context"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Registry is where members leave their addresses: in etcd at Prefix and their name, under a lease. Its zero value
// knows nobody.
type Registry struct {
	Client *clientv3.Client
	Prefix string // with a slash at its end
}

// registryTTL is how long the address of a member that died stays, in seconds.
const registryTTL = 15

// addresses returns the addresses of members by name.
func (r Registry) addresses(ctx context.Context) (map[string]string, error) {
	if r.Client == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	response, err := r.Client.Get(ctx, r.Prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read", r.Prefix, err)
	}
	out := make(map[string]string)
	for _, kv := range response.Kvs {
		out[strings.TrimPrefix(string(kv.Key), r.Prefix)] = string(kv.Value)
	}
	return out, nil
}

// register keeps the address there until ctx is done, and then takes it away.
func (r Registry) register(ctx context.Context, name, address string, log *slog.Logger) {
	if r.Client == nil {
		return
	}
	for ctx.Err() == nil {
		if err := r.hold(ctx, name, address); err != nil && ctx.Err() == nil {
			log.Warn("cannot leave this member's address for others, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// hold registers once and returns when the lease ends.
func (r Registry) hold(ctx context.Context, name, address string) error {
	lease, err := r.Client.Grant(ctx, registryTTL)
	if err != nil {
		return fault.New(fault.Unavailable, "register", name, err)
	}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = r.Client.Revoke(late, lease.ID) // else it ends by itself
	}()
	if _, err := r.Client.Put(ctx, r.Prefix+name, address, clientv3.WithLease(lease.ID)); err != nil {
		return fault.New(fault.Unavailable, "register", name, err)
	}
	alive, err := r.Client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return fault.New(fault.Unavailable, "register", name, err)
	}
	for range alive {
	}
	return fault.Newf(fault.Unavailable, "register", name, "the lease ended")
}
