// Package clustertest provides to tests what a cluster stands on: a Postgres database, an etcd and a Kafka broker
// that can be reached over TCP, each over a [Cable] that can be cut, and a [Registry] of images that can be told
// to misbehave.
//
// It starts no role. Everything is gone when the test ends.
package clustertest

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/embedded/embeddedtest"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// Servers are the servers of one cluster.
type Servers struct {
	// DSN, Etcd and Kafka are addresses that other processes can use too.
	DSN   string
	Etcd  string
	Kafka []string
	// Store is a connection of the test's own, over no cable.
	Store *store.Store

	pg struct{ network, address, user, database string }
}

// Start starts servers with an empty database of the current schema, in about half a second.
func Start(tb testing.TB) *Servers {
	tb.Helper()
	s := &Servers{}
	s.Store, s.DSN = openStore(tb)
	config, err := pgx.ParseConfig(s.DSN)
	if err != nil {
		tb.Fatal(err)
	}
	s.pg.network, s.pg.address = "unix", config.Host+"/.s.PGSQL."+strconv.Itoa(int(config.Port))
	s.pg.user, s.pg.database = config.User, config.Database
	s.Etcd = startEtcd(tb)
	options := []kfake.Opt{kfake.NumBrokers(1)}
	for _, t := range queue.Topics() {
		options = append(options, kfake.SeedTopics(int32(t.Partitions), t.Name))
	}
	broker, err := kfake.NewCluster(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(broker.Close)
	s.Kafka = broker.ListenAddrs()
	return s
}

// Store returns a Store on an empty database of its own, of the current schema. It is for tests that need no other server.
func Store(tb testing.TB) *store.Store {
	tb.Helper()
	s, _ := openStore(tb)
	return s
}

func openStore(tb testing.TB) (s *store.Store, dsn string) {
	tb.Helper()
	dsn = embeddedtest.PostgresFrom(tb, "cluster", migrate)
	s, err := store.Open(tb.Context(), store.Config{DSN: dsn})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s, dsn
}

func migrate(dsn string) error {
	s, err := store.Open(context.Background(), store.Config{DSN: dsn})
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Migrate(context.Background())
}

// startEtcd starts a member that flushes nothing to disk, and returns its address.
func startEtcd(tb testing.TB) string {
	tb.Helper()
	config := embed.NewConfig()
	config.Dir, config.ZapLoggerBuilder = tb.TempDir(), embed.NewZapLoggerBuilder(zap.NewNop())
	client, peer := freeURL(tb), freeURL(tb)
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs, config.ElectionMs, config.UnsafeNoFsync = 20, 200, true
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(etcd.Close)
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		tb.Fatal(err)
	case <-time.After(30 * time.Second):
		tb.Fatal("etcd does not begin to serve")
	}
	return client.Host
}

func freeURL(tb testing.TB) url.URL {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}

// Node is one process's place in the cluster, reached over cables of its own.
type Node struct {
	*cluster.Cluster
	Cables Cables
}

// Cables are the ways to the servers.
type Cables struct{ Postgres, Etcd, Kafka *Cable }

// Cut cuts all of them.
func (c Cables) Cut() {
	for _, cable := range []*Cable{c.Postgres, c.Etcd, c.Kafka} {
		cable.Cut()
	}
}

// Node joins the cluster under a name, with the roles and the capacity that other members are told of. Taking part in
// the membership is up to the test: see [cluster.Cluster.Run].
func (s *Servers) Node(tb testing.TB, name string, capacity int, roles ...string) *Node {
	tb.Helper()
	n := &Node{Cables: Cables{
		Postgres: NewCable(tb, s.pg.network, s.pg.address),
		Etcd:     NewCable(tb, "tcp", s.Etcd),
		Kafka:    NewCable(tb, "tcp", s.Kafka[0]),
	}}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{n.Cables.Etcd.Addr()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		DialKeepAliveTime: time.Second, DialKeepAliveTimeout: time.Second,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
			tb.Error(err)
		}
	})
	n.Cluster, err = cluster.Open(tb.Context(), cluster.Config{
		Postgres: store.Config{DSN: s.dsnOver(n.Cables.Postgres)},
		Etcd:     etcd,
		Kafka:    queue.Connection{Brokers: s.Kafka, ClientID: name, Options: []kgo.Opt{kgo.Dialer(n.Cables.Kafka.Dial)}},
		Member: membership.Config{
			Name: name, Meta: membership.Meta{Roles: roles, Capacity: capacity}, LookInterval: 250 * time.Millisecond,
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Close)
	return n
}

// dsnOver returns the address of the database over a cable.
func (s *Servers) dsnOver(c *Cable) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(s.pg.user), Host: c.Addr(), Path: "/" + s.pg.database,
		RawQuery: "sslmode=disable&connect_timeout=2",
	}
	return u.String()
}

// Records returns the values of all records of a topic.
func (s *Servers) Records(tb testing.TB, topic string) (values [][]byte) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(tb.Context(), topic)
	if err != nil {
		tb.Fatal(err)
	}
	var total int64
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	for int64(len(values)) < total {
		fetches := client.PollFetches(tb.Context())
		if err := fetches.Err(); err != nil {
			tb.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, r.Value) })
	}
	return values
}
