package cluster_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/shard"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// nowhere is an address at which nothing answers.
const nowhere = "127.0.0.1:1"

// log is a buffer that is safe for concurrent use.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// away is one server that does not answer.
var away = []struct {
	name, server string
	change       func(*testing.T, *cluster.Config)
}{
	{"Postgres", "the database", func(_ *testing.T, c *cluster.Config) {
		c.Postgres.DSN = "postgres://trawl@" + nowhere + "/trawl"
	}},
	{"etcd", "etcd", func(t *testing.T, c *cluster.Config) { c.Etcd = etcdClient(t, nowhere) }},
	{"Kafka", "Kafka", func(_ *testing.T, c *cluster.Config) { c.Kafka.Brokers = []string{nowhere} }},
}

func etcdClient(t *testing.T, address string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func config(t *testing.T, s *clustertest.Servers) cluster.Config {
	t.Helper()
	return cluster.Config{
		Postgres: store.Config{DSN: s.DSN}, Etcd: etcdClient(t, s.Etcd), Kafka: queue.Connection{Brokers: s.Kafka},
		Member: membership.Config{Name: "a"},
	}
}

// TestPatience holds that a command gives up after some seconds and says which server does not answer, and why.
func TestPatience(t *testing.T) {
	s := clustertest.Start(t)
	for _, c := range away {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := config(t, s)
			c.change(t, &config)
			config.Patience = time.Second
			began := time.Now()
			_, err := cluster.Open(t.Context(), config)
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "connect to "+c.server) {
				t.Errorf("%v (%v), want it to be about %s", err, fault.KindOf(err), c.server)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("what will not pass is not waited for", func(t *testing.T) {
		config := config(t, s)
		config.Postgres.DSN = strings.Replace(s.DSN, "/test_", "/no_such_test_", 1)
		if _, err := cluster.Open(t.Context(), config); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%v (%v)", err, fault.KindOf(err))
		}
	})
}

// TestWaiting holds that a role waits for a server that is not there yet, says so once, and goes on when it is.
func TestWaiting(t *testing.T) {
	s := clustertest.Start(t)
	for _, c := range away {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			said := new(log)
			config := config(t, s)
			c.change(t, &config)
			config.Logger = slog.New(slog.NewTextHandler(said, nil))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := cluster.Open(ctx, config)
				ended <- err
			}()
			clustertest.Eventually(t, "it says what it waits for", func() bool {
				return strings.Contains(said.String(), "waiting for a server") && strings.Contains(said.String(), c.server)
			})
			select {
			case err := <-ended:
				t.Fatalf("it does not wait: %v", err)
			default:
			}
			cancel()
			if err := <-ended; fault.KindOf(err) != fault.Canceled {
				t.Errorf("told to stop: %v (%v)", err, fault.KindOf(err))
			}
			if n := strings.Count(said.String(), "waiting for a server"); n != 1 {
				t.Errorf("it says so %d times:\n%s", n, said)
			}
		})
	}
	t.Run("it comes", func(t *testing.T) {
		cable := clustertest.NewCable(t, "tcp", s.Etcd)
		cable.Cut()
		time.AfterFunc(500*time.Millisecond, cable.Mend)
		config := config(t, s)
		config.Etcd = etcdClient(t, cable.Addr())
		c, err := cluster.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

// TestLock holds that one process at a time has a lock, and that one that lost it is told.
func TestLock(t *testing.T) {
	t.Parallel()
	s := clustertest.Start(t)
	a, b := s.Node(t, "a", 0), s.Node(t, "b", 0)
	held, unlock, err := a.TryLock(t.Context(), "source/debian")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.TryLock(t.Context(), "source/debian"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a lock that another has: %v (%v)", err, fault.KindOf(err))
	}
	_, other, err := b.TryLock(t.Context(), "source/alpine")
	if err != nil {
		t.Errorf("another lock: %v", err)
	}
	other()
	unlock()
	if held.Err() == nil {
		t.Error("the context of a lock outlives it")
	}
	held, unlock, err = b.TryLock(t.Context(), "source/debian")
	if err != nil {
		t.Fatalf("a lock that is free again: %v", err)
	}
	defer unlock()
	b.Cables.Etcd.Cut()
	select {
	case <-held.Done():
		if cause := context.Cause(held); fault.KindOf(cause) != fault.Unavailable {
			t.Errorf("the cause: %v", cause)
		}
	case <-time.After(time.Minute):
		t.Error("a lock is not lost although its lease must have ended")
	}
	b.Cables.Etcd.Mend()
}

// TestPicture holds what a process sees of the cluster, and that it says so when it does not.
func TestPicture(t *testing.T) {
	t.Parallel()
	s := clustertest.Start(t)
	a := s.Node(t, "a", 3, membership.RoleWorker)
	clustertest.Go(t, a.Run)
	clustertest.Eventually(t, "it is a member", func() bool {
		p, err := a.Picture(t.Context())
		return err == nil && len(p.Members) == 1 && p.Members[0].Meta.Capacity == 3 && p.Unassigned == shard.Count && p.Leader.ID == ""
	})
	value, err := shard.Assign([]shard.Worker{{ID: "a", Weight: 1}}).MarshalJSON()
	if err == nil {
		_, err = a.Etcd.Put(t.Context(), shard.AssignmentKey, string(value))
	}
	if err == nil {
		_, err = a.Etcd.Put(t.Context(), shard.OwnerKey(7), "a")
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Picture(t.Context())
	if err != nil || p.Unassigned != 0 || p.Unowned != shard.Count-1 || p.Owned["a"] != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	a.Cables.Etcd.Cut()
	defer a.Cables.Etcd.Mend()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if p, err := a.Picture(ctx); fault.KindOf(err) != fault.Unavailable || len(p.Members) != 1 {
		t.Errorf("without etcd: %+v, %v (%v)", p, err, fault.KindOf(err))
	}
	if err := a.CheckEtcd(ctx); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("etcd is away: %v", err)
	}
}
