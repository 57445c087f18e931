package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/deploy/local"
	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/election"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

// startCluster starts a cluster of processes on this machine, with Apache Kafka, etcd, PostgreSQL and Debian's
// docker-registry, and waits until it is at work.
func startCluster(b *testing.B, config local.Config) *local.Cluster {
	b.Helper()
	// Not b.TempDir: its name is too long for a socket, and the account of PostgreSQL may not enter it.
	dir, err := os.MkdirTemp("", "trawl-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	config.Dir, config.Binary = filepath.Join(dir, "c"), buildTrawl(b)
	if config.Arguments == nil {
		config.Arguments = map[string][]string{}
	}
	config.Arguments[local.Updater] = []string{"--mirror", dir}
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	c, err := local.Start(ctx, config)
	if fault.KindOf(err) == fault.NotFound {
		b.Skipf("SKIPPED, something that a cluster needs is not installed (make deps): %v", err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := c.Settled(ctx); err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkClusterSmallImages has small images scanned by a cluster of two coordinators, two workers, an updater and an
// API: images of four layers, one of which no other image has, on ten bases of 90 packages; every fourth installs packages of its own.
// Each is submitted by a request of its own, 16 at once. The time is that from the first request until no work is left. The
// one who submits is on the same processors.
//
// It prints what each process took of processors and memory.
func BenchmarkClusterSmallImages(b *testing.B) {
	config := local.Config{Coordinators: 2, Workers: 2, Updaters: 1, Notifiers: -1, APIs: 1}
	images := 5000
	if testing.Short() {
		config.Scratch, images = true, 300
	}
	c := startCluster(b, config)
	if !testing.Short() { // the broker compiles itself while it works, which takes ten seconds of CPU at the start
		scanLoad(b, c, local.Load{Images: images, Seed: 1})
	}
	for i := uint64(2); b.Loop(); i++ {
		result := scanLoad(b, c, local.Load{Images: images, Seed: i})
		sum := logUsage(b, result)
		b.ReportMetric(result.Rate(), "images/s")
		b.ReportMetric(1000*sum.Seconds()/float64(images), "CPU-ms/image")
	}
}

// logUsage prints what each process took, and returns the time on processors of all.
func logUsage(b *testing.B, result *local.Scanned) (sum time.Duration) {
	b.Helper()
	for _, u := range result.Usage {
		sum += u.CPU
		b.Logf("%-14s %6.2f s of CPU, %5.2f ms/image, %4d MiB resident, %4d MiB at most",
			u.Name, u.CPU.Seconds(), 1000*u.CPU.Seconds()/float64(result.Images), u.MemoryBytes>>20, u.PeakBytes>>20)
	}
	return sum
}

// scanLoad has a load scanned, all of which has to be complete. That it is made is not timed.
func scanLoad(b *testing.B, c *local.Cluster, load local.Load) *local.Scanned {
	b.Helper()
	b.StopTimer()
	references, err := c.Push(b.Context(), load)
	if err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
	return scanAll(b, c, references)
}

// scanAll has references scanned, all of which have to be complete.
func scanAll(b *testing.B, c *local.Cluster, references []string) *local.Scanned {
	b.Helper()
	result, err := c.Scan(b.Context(), references, local.ScanOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if result.States[api.StateComplete] != len(references) {
		b.Fatalf("%v\n%s", result.States, strings.Join(result.Problems, "\n"))
	}
	return result
}

// BenchmarkFailover measures how long work stands still when the leader is killed: from SIGKILL until an image that was
// submitted at that moment is resolved and its layers are sent; and when a worker is killed: until all layers in the shards that it
// held are analyzed, which were submitted at that moment.
func BenchmarkFailover(b *testing.B) {
	rounds := 5
	if testing.Short() { // it waits until leases end
		rounds = 1
	}
	c := startCluster(b, local.Config{Scratch: true, Notifiers: -1})
	seed := uint64(100)
	for _, victim := range []string{"leader", "worker"} {
		b.Run(victim, func(b *testing.B) {
			var took []time.Duration
			for range rounds {
				if _, err := c.Settled(b.Context()); err != nil {
					b.Fatal(err)
				}
				seed++
				took = append(took, failover(b, c, victim, seed))
			}
			slices.Sort(took)
			b.ReportMetric(0, "ns/op") // means nothing
			b.ReportMetric(took[len(took)/2].Seconds(), "s-median")
			b.ReportMetric(took[len(took)-1].Seconds(), "s-max")
			b.Logf("%s: %v", victim, took)
		})
	}
}

// failover kills a member, submits work at once, and returns how long that took which waits for another member.
func failover(b *testing.B, c *local.Cluster, victim string, seed uint64) time.Duration {
	b.Helper()
	etcd := etcdClient(b, c)
	name := "worker-1"
	if victim == "leader" {
		leader, err := election.Current(b.Context(), etcd, cluster.CoordinatorPrefix)
		if err != nil {
			b.Fatal(err)
		}
		name = leader.ID
	}
	held := assignment(b, etcd)
	if err := c.Kill(name); err != nil {
		b.Fatal(err)
	}
	killed := time.Now()
	scanLoad(b, c, local.Load{Images: 100, Seed: seed})
	conn, err := pgx.Connect(b.Context(), c.Servers().Postgres)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	var at time.Time
	if victim == "leader" {
		if err := conn.QueryRow(b.Context(), `SELECT min(resolved_at) FROM submission WHERE created_at > $1`, killed).Scan(&at); err != nil {
			b.Fatal(err)
		}
	} else {
		for _, l := range analyzedSince(b, conn, killed) {
			if held[l.Shard] == name {
				at = l.At // they are in order
			}
		}
		if at.IsZero() {
			b.Fatalf("no layer was in a shard of %s", name)
		}
	}
	if err := c.Restart(b.Context(), name); err != nil {
		b.Fatal(err)
	}
	return at.Sub(killed)
}

func etcdClient(b *testing.B, c *local.Cluster) *clientv3.Client {
	b.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.Servers().Etcd}, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	return client
}

// assignment returns who is to have each shard.
func assignment(b *testing.B, etcd *clientv3.Client) shard.Assignment {
	b.Helper()
	var out shard.Assignment
	response, err := etcd.Get(b.Context(), shard.AssignmentKey)
	if err == nil && len(response.Kvs) == 1 {
		err = json.Unmarshal(response.Kvs[0].Value, &out)
	}
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkRebalance measures how many of the 256 shards move, and how long that takes, when a worker joins three others or
// fifteen, and when it leaves in order.
func BenchmarkRebalance(b *testing.B) {
	if testing.Short() {
		b.Skip("SKIPPED in short mode: BenchmarkClusterSmallImages starts a cluster")
	}
	c := startCluster(b, local.Config{Scratch: true, Notifiers: -1, Updaters: -1, Workers: 4})
	for _, workers := range []int{4, 16} {
		addWorkers(b, c, workers)
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) { rebalance(b, c, fmt.Sprintf("worker-%d", workers)) })
	}
}

// addWorkers adds workers until there are so many, and waits until all are at work.
func addWorkers(b *testing.B, c *local.Cluster, want int) {
	b.Helper()
	have := 0
	for _, member := range c.Addresses() {
		if member.Role == local.Worker {
			have++
		}
	}
	for ; have < want; have++ {
		if _, err := c.Add(b.Context(), local.Worker); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := c.Settled(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// rebalance has a worker leave and join again.
func rebalance(b *testing.B, c *local.Cluster, name string) {
	etcd := etcdClient(b, c)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"leave", func() error { return c.Stop(name) }},
		{"join", func() error { return c.Restart(b.Context(), name) }},
	} {
		before := assignment(b, etcd)
		began := time.Now()
		if err := step.do(); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Settled(b.Context()); err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		after := assignment(b, etcd)
		moved, own := len(before.Moved(&after)), max(len(before.Shards(name)), len(after.Shards(name)))
		b.ReportMetric(took.Seconds(), "s-"+step.name)
		b.ReportMetric(float64(moved), "moved-"+step.name)
		b.Logf("%s: %d shards moved, %d of them its own", step.name, moved, own)
	}
	b.ReportMetric(0, "ns/op") // means nothing
}
