package etcd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestMain(m *testing.M) {
	os.Exit(crashtest.Main(m, map[string]func(context.Context, []string) error{"put": putForEver}))
}

// putForEver starts a server in args[0], grants a lease of a minute, puts 1, 2, 3, … and prints each
// number once it is acknowledged.
func putForEver(ctx context.Context, args []string) error {
	s, err := Start(ctx, Config{Dir: args[0]})
	if err != nil {
		return err
	}
	lease, err := s.Client().Grant(ctx, 60)
	if err != nil {
		return err
	}
	if _, err := s.Client().Put(ctx, "leased", "", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	for n := 1; ; n++ {
		if _, err := s.Client().Put(ctx, "n", strconv.Itoa(n)); err != nil {
			return err
		}
		fmt.Println("put", n)
	}
}

func mustStart(t *testing.T, cfg Config) *Server {
	t.Helper()
	begin := time.Now()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(begin))
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestClient does with the client what the roles do with it.
func TestClient(t *testing.T) {
	leaktest.Check(t)
	s := mustStart(t, Config{Dir: t.TempDir(), Scratch: true})
	client := s.Client()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	t.Run("watch", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		events := client.Watch(ctx, "shard/", clientv3.WithPrefix(), clientv3.WithPrevKV())
		for _, value := range []string{"a", "b"} {
			if _, err := client.Put(ctx, "shard/7", value); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for len(got) < 2 {
			for _, e := range (<-events).Events {
				got = append(got, string(e.Kv.Value))
			}
		}
		if got[0] != "a" || got[1] != "b" {
			t.Errorf("events %q", got)
		}
		cancel()
		for range events { // ends, for the watch does
		}
	})

	t.Run("watch from a revision that is gone", func(t *testing.T) {
		put, err := client.Put(ctx, "k", "v")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Compact(ctx, put.Header.Revision); err != nil {
			t.Fatal(err)
		}
		if r := <-client.Watch(ctx, "k", clientv3.WithRev(1)); r.CompactRevision != put.Header.Revision || r.Err() == nil {
			t.Errorf("response %+v, %v", r, r.Err())
		}
	})

	t.Run("transaction", func(t *testing.T) {
		swap := func() bool {
			r, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision("once"), "=", 0)).
				Then(clientv3.OpPut("once", "1")).Else(clientv3.OpGet("once")).Commit()
			if err != nil {
				t.Fatal(err)
			}
			return r.Succeeded
		}
		if !swap() || swap() {
			t.Error("the swap must succeed once")
		}
	})

	t.Run("a lease ends", func(t *testing.T) {
		lease, err := client.Grant(ctx, 1)
		if err != nil || lease.TTL > 1 {
			t.Fatalf("granted %d seconds, %v", lease.TTL, err)
		}
		events := client.Watch(ctx, "leased")
		if _, err := client.Put(ctx, "leased", "", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		for r := range events {
			if last := r.Events[len(r.Events)-1]; last.Type == clientv3.EventTypeDelete {
				return
			}
		}
	})

	t.Run("election", func(t *testing.T) { elect(t, client) })
}

// elect has two candidates: one leads, resigns by the end of its session, and the other leads.
func elect(t *testing.T, client *clientv3.Client) {
	first, err := concurrency.NewSession(client, concurrency.WithTTL(5))
	if err != nil {
		t.Fatal(err)
	}
	second, err := concurrency.NewSession(client, concurrency.WithTTL(5))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	a, b := concurrency.NewElection(first, "leader"), concurrency.NewElection(second, "leader")
	if err := a.Campaign(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	observed := b.Observe(t.Context())
	if r := <-observed; string(r.Kvs[0].Value) != "a" {
		t.Errorf("leader %s", r.Kvs[0].Value)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Campaign(t.Context(), "b"); err != nil {
			t.Error(err)
		}
	})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for r := range observed {
		if string(r.Kvs[0].Value) == "b" {
			break
		}
	}
	if b.Rev() <= a.Rev() {
		t.Errorf("terms: first %d, then %d", a.Rev(), b.Rev())
	}
}

// TestRestart stops and starts the same server: its data and its leases are there.
func TestRestart(t *testing.T) {
	leaktest.Check(t)
	dir := filepath.Join(t.TempDir(), "made", "on the way")
	s := mustStart(t, Config{Dir: dir})
	lease, err := s.Client().Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Put(t.Context(), "k", "v", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %v", time.Since(begin))
	if err := s.Stop(t.Context()); err != nil || s.Err() != nil {
		t.Errorf("stopping twice: %v, Err: %v", err, s.Err())
	}

	s = mustStart(t, Config{Dir: dir})
	got, err := s.Client().Get(t.Context(), "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Fatalf("after a restart: %v, %v", got, err)
	}
	if alive, err := s.Client().KeepAliveOnce(t.Context(), lease.ID); err != nil || alive.TTL != 60 {
		t.Errorf("the lease: %v, %v", alive, err)
	}
}

// TestKill kills a process that puts: what was acknowledged is there, and the lease lives.
func TestKill(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	child := crashtest.Start(t, "put", dir)
	for range 100 {
		child.Await("put")
	}
	child.Kill()
	s := mustStart(t, Config{Dir: dir})
	promised := 100
	if last, ok := child.Rest("put"); ok {
		promised, _ = strconv.Atoi(last)
	}
	got, err := s.Client().Get(t.Context(), "n")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if n, err := strconv.Atoi(string(got.Kvs[0].Value)); err != nil || n < promised {
		t.Errorf("%d acknowledged, %d kept, %v", promised, n, err)
	}
	leased, err := s.Client().Get(t.Context(), "leased")
	if err != nil || len(leased.Kvs) != 1 || leased.Kvs[0].Lease == 0 {
		t.Errorf("the leased key: %v, %v", leased, err)
	}
}

// TestNoListener: nothing of the server can be reached from outside.
func TestNoListener(t *testing.T) {
	s := mustStart(t, Config{Dir: t.TempDir(), Scratch: true})
	if n := len(s.member.Clients) + len(s.member.Peers); n > 0 {
		t.Errorf("%d listeners", n)
	}
}

// TestCorrupt: what etcd takes for fatal is an error here, not the end of the process.
func TestCorrupt(t *testing.T) {
	dir := t.TempDir()
	s := mustStart(t, Config{Dir: dir, Scratch: true})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "member", "snap", "db"), bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Config{Dir: dir})
	if err == nil {
		s.Stop(t.Context())
		t.Fatal("it started")
	}
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "invalid database") {
		t.Errorf("kind %v: %v", fault.KindOf(err), err)
	}
}

// TestNoTime: a start that was given no time leaves nothing behind.
func TestNoTime(t *testing.T) {
	leaktest.Check(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Start(ctx, Config{Dir: t.TempDir(), Scratch: true}); fault.KindOf(err) != fault.Canceled {
		t.Errorf("%v, %v", s, err)
	}
}

// TestTwo runs two servers in one process, as tests of a cluster do.
func TestTwo(t *testing.T) {
	a, b := mustStart(t, Config{Dir: t.TempDir(), Scratch: true}), mustStart(t, Config{Dir: t.TempDir(), Scratch: true})
	if _, err := a.Client().Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Client().Get(t.Context(), "k"); err != nil || len(got.Kvs) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
