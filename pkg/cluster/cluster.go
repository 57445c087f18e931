// Package cluster provides a process's place in the cluster: its connections to Postgres, etcd and Kafka, its
// membership, the locks that all share, and a picture of who is there and who does what.
//
// It starts no server (package embedded does) and does no role's work.
package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/retry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// Config says what to connect to.
type Config struct {
	// Postgres is the address of the database.
	Postgres store.Config
	// Etcd is a client to use, whose owner closes it. Nil means one of [Config.EtcdServers], which [Cluster.Close] closes.
	Etcd *clientv3.Client
	// EtcdServers says how to reach etcd where there is no client.
	EtcdServers Etcd
	// Kafka says how to reach the brokers.
	Kafka queue.Connection
	// Member is this process among the members. Its Seeds are set here.
	Member membership.Config
	// Patience is how long [Open] waits for servers that do not answer. Zero means as long as its context lasts: a role
	// waits for its cluster, a person does not.
	Patience time.Duration
	// Logger gets what goes on. Nil means nobody does.
	Logger *slog.Logger
}

// Cluster is a process's place in the cluster. It is safe for concurrent use.
type Cluster struct {
	Store   *store.Store
	Etcd    *clientv3.Client
	Kafka   queue.Connection
	Members *membership.Cluster

	log      *slog.Logger
	ownsEtcd bool
}

// Open connects, waiting for what is not there yet until ctx is done or [Config.Patience] is at its end, and brings
// schema and topics up to this version of the program. The caller closes it.
//
// What is waited for is told to the logger, once for each server. When patience ends, the error is what the server
// answered last; where several do not answer, it is about the first that was noticed. What does not pass by waiting, such
// as a wrong password or a certificate that nobody trusts, is not waited for: the error wraps a [Refusal].
func Open(ctx context.Context, config Config) (*Cluster, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{Etcd: config.Etcd, Kafka: config.Kafka, log: config.Logger}
	if config.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, config.Patience, errPatience)
		defer cancel()
	}
	g, opening := errgroup.WithContext(ctx)
	g.Go(func() error {
		return c.wait(opening, ServerPostgres, func() error { return c.openStore(opening, config.Postgres) })
	})
	g.Go(func() error {
		return c.wait(opening, ServerKafka, func() error {
			err := queue.EnsureTopics(opening, config.Kafka, queue.Topics())
			return explain(opening, ServerKafka, config.Kafka.Brokers, config.Kafka.TLS, err)
		})
	})
	g.Go(func() error {
		servers := config.EtcdServers.secured()
		return c.wait(opening, ServerEtcd, func() error {
			return explain(opening, ServerEtcd, servers.Endpoints, servers.TLS, c.openEtcd(opening, servers))
		})
	})
	err := g.Wait()
	if err == nil {
		member := config.Member
		member.Logger = config.Logger
		member.Registry = membership.Registry{Client: c.Etcd, Prefix: membersPrefix}
		c.Members, err = membership.New(member)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// openStore connects to the database, and brings the schema up to date.
func (c *Cluster) openStore(ctx context.Context, config store.Config) (err error) {
	if c.Store == nil {
		if c.Store, err = store.Open(ctx, config); err != nil {
			return Explain(ServerPostgres, err)
		}
	}
	return c.Store.Migrate(ctx)
}

// openEtcd makes a client, unless there is one, and asks whether etcd answers.
func (c *Cluster) openEtcd(ctx context.Context, servers Etcd) (err error) {
	if c.Etcd == nil {
		if c.Etcd, err = servers.client(); err != nil {
			return err
		}
		c.ownsEtcd = true
	}
	asking, cancel := context.WithTimeout(ctx, etcdPatience)
	defer cancel()
	return askEtcd(asking, c.Etcd)
}

// explain says why a server that is reached by TCP and TLS refuses this process, if it does.
func explain(ctx context.Context, server Server, addresses []string, config *tls.Config, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if explained := Explain(server, err); fault.KindOf(explained) == fault.Unauthorized {
		return explained
	}
	return probe(ctx, server, addresses, config, err)
}

// membersPrefix is where members leave their addresses in etcd, for others to find a first one.
const membersPrefix = "/trawl/members/"

// errPatience is the cause of the end of Open's context when patience is at its end.
var errPatience = errors.New("it does not answer")

// wait connects to a server that may not be there yet.
func (c *Cluster) wait(ctx context.Context, server Server, connect func() error) error {
	var last error
	err := retry.Do(ctx, func(err error, _ time.Duration) {
		if last == nil {
			c.log.Warn("waiting for a server", "server", string(server), "error", err)
		}
		last = err
	}, connect)
	if err == nil || !errors.Is(context.Cause(ctx), errPatience) {
		return err
	}
	return fault.New(fault.Unavailable, "connect to", string(server), cmp.Or(last, errPatience))
}

// Run takes part in the membership until ctx is done, and leaves.
func (c *Cluster) Run(ctx context.Context) error { return c.Members.Run(ctx) }

// Close closes the connections.
func (c *Cluster) Close() {
	if c.Store != nil {
		c.Store.Close()
	}
	if c.ownsEtcd {
		_ = c.Etcd.Close() // nothing is under way any more
	}
}

// CheckEtcd tells whether etcd answers.
func (c *Cluster) CheckEtcd(ctx context.Context) error { return askEtcd(ctx, c.Etcd) }

// errLost is the cause of the end of a lock's context when its lease ended.
var errLost = errors.New("the lock was lost: its lease ended")
