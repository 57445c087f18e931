// Package cluster provides a process's place in the cluster: its connections to Postgres, etcd and Kafka, its
// membership, the locks that all share, and a picture of who is there and who does what.
//
// It starts no server (package embedded does) and does no role's work.
package cluster

import (
	"cmp"
	"context"
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
	// Etcd is a client to use, whose owner closes it.
	Etcd *clientv3.Client
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

	log *slog.Logger
}

// Open connects, waiting for what is not there yet until ctx is done or [Config.Patience] is at its end, and brings
// schema and topics up to this version of the program. The caller closes it.
//
// What is waited for is told to the logger, once for each server. When patience ends, the error is what the server
// answered last; where several do not answer, it is about the first that was noticed.
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
		return c.wait(opening, "the database", func() (err error) {
			if c.Store == nil {
				if c.Store, err = store.Open(opening, config.Postgres); err != nil {
					return err
				}
			}
			return c.Store.Migrate(opening)
		})
	})
	g.Go(func() error {
		return c.wait(opening, "Kafka", func() error { return queue.EnsureTopics(opening, config.Kafka, queue.Topics()) })
	})
	g.Go(func() error {
		return c.wait(opening, "etcd", func() error {
			asking, cancel := context.WithTimeout(opening, 5*time.Second)
			defer cancel()
			_, err := c.Etcd.Get(asking, "/trawl", clientv3.WithCountOnly())
			if err != nil && opening.Err() == nil {
				err = fault.New(fault.Unavailable, "ask", "etcd", err)
			}
			return err
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

// membersPrefix is where members leave their addresses in etcd, for others to find a first one.
const membersPrefix = "/trawl/members/"

// errPatience is the cause of the end of Open's context when patience is at its end.
var errPatience = errors.New("it does not answer")

// wait connects to a server that may not be there yet.
func (c *Cluster) wait(ctx context.Context, what string, connect func() error) error {
	var last error
	err := retry.Do(ctx, func(err error, _ time.Duration) {
		if last == nil {
			c.log.Warn("waiting for a server", "server", what, "error", err)
		}
		last = err
	}, connect)
	if err == nil || !errors.Is(context.Cause(ctx), errPatience) {
		return err
	}
	return fault.New(fault.Unavailable, "connect to", what, cmp.Or(last, errPatience))
}

// Run takes part in the membership until ctx is done, and leaves.
func (c *Cluster) Run(ctx context.Context) error { return c.Members.Run(ctx) }

// Close closes the connections.
func (c *Cluster) Close() {
	if c.Store != nil {
		c.Store.Close()
	}
}

// CheckEtcd tells whether etcd answers.
func (c *Cluster) CheckEtcd(ctx context.Context) error {
	_, err := c.Etcd.Get(ctx, "/trawl", clientv3.WithCountOnly())
	if err != nil {
		return fault.New(fault.Unavailable, "ask", "etcd", err)
	}
	return nil
}

// errLost is the cause of the end of a lock's context when its lease ended.
var errLost = errors.New("the lock was lost: its lease ended")
