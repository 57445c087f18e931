package bench

import (
	"cmp"
	"flag"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/deploy/local"
)

var scalingLayers = flag.Int("scaling-layers", 240, "how many layers BenchmarkScaling has for each worker")

// distant is the registry of BenchmarkScaling: a round trip takes 50 ms, and a connection carries 256 KiB/s.
//
// What a connection carries is bounded, and not what the registry does, because that is how it is with one: behind each
// stands a network of caches, which has more for all than anybody takes, and what one connection gets is bounded by its
// window and the round trip, or by rule. A worker holds one connection for each layer under way, so what it reads is
// bounded by its slots, as on a machine of its own.
var distant = local.Path{RoundTrip: 50 * time.Millisecond, BytesPerSecond: 256 << 10}

// BenchmarkScaling has layers analyzed by 1, 2, 4, 8 and 16 workers of two slots each, which read them from a distant
// registry; see [distant]. A worker then waits for nearly all of its time, so that 16 of them have room on one machine:
// what is measured is whether the cluster keeps them all at work, not what a processor can do. Each image has one layer of
// 64 KiB that no other has.
//
// It tells two rates, and each as a part of so many times that of one worker. The steady one is of the time in which all
// workers are at work: from when the last of them has its first layer until the first of them has done its last. The
// other is of all the time, from the first submission until the last layer; what it lacks are the waits for the
// first layer, and for those workers which have more to do than others at the end.
func BenchmarkScaling(b *testing.B) {
	sizes, layers, config := []int{1, 2, 4, 8, 16}, *scalingLayers, local.Config{}
	if testing.Short() {
		sizes, layers, config.Scratch = []int{1, 2}, 15, true
	}
	config.Coordinators, config.Workers, config.Updaters, config.Notifiers, config.RegistryPath = 1, 1, -1, -1, distant
	config.Arguments = map[string][]string{local.Worker: {"--layers", "2"}}
	c := startCluster(b, config)
	scanLoad(b, c, local.Load{Images: 10, Layers: 2, Seed: 1})
	var one scaled
	for i, n := range sizes {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) {
			addWorkers(b, c, n)
			now := scale(b, c, local.Load{Images: n * layers, Layers: 2, NewBytes: 64 << 10, Bases: 1, InstallEvery: -1, Seed: uint64(2 + i)})
			if n == 1 {
				one = now
			}
			b.ReportMetric(0, "ns/op") // means nothing
			b.ReportMetric(now.steady, "layers/s")
			b.ReportMetric(now.steady/one.steady/float64(n), "linear")
			b.ReportMetric(now.whole/one.whole/float64(n), "linear-to-end")
			b.ReportMetric(100*now.busy, "%CPU")
		})
	}
}

// scaled are rates in layers/s, and the part of the machine that was busy.
type scaled struct{ steady, whole, busy float64 }

// scale has a load scanned, and measures.
func scale(b *testing.B, c *local.Cluster, load local.Load) scaled {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), c.Servers().Postgres)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	references, err := c.Push(b.Context(), load)
	if err != nil {
		b.Fatal(err)
	}
	owners := assignment(b, etcdClient(b, c))
	began, own := time.Now(), ownCPU()
	result := scanAll(b, c, references)
	took := time.Since(began)
	cpu := ownCPU() - own + logUsage(b, result)

	var resolved time.Time
	if err := conn.QueryRow(b.Context(), `SELECT max(resolved_at) FROM submission WHERE created_at > $1`, began).Scan(&resolved); err != nil {
		b.Fatal(err)
	}
	rows, err := conn.Query(b.Context(), `SELECT analyzed_at, get_byte(digest, 7) FROM layer WHERE analyzed_at > $1 ORDER BY 1`, began)
	if err != nil {
		b.Fatal(err)
	}
	type analyzed struct {
		At    time.Time
		Shard int // see package shard
	}
	layers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[analyzed])
	if err != nil {
		b.Fatal(err)
	}
	first, last, count := map[string]time.Time{}, map[string]time.Time{}, map[string]int{}
	for _, l := range layers {
		owner := owners[l.Shard]
		first[owner] = cmp.Or(first[owner], l.At)
		last[owner] = l.At
		count[owner]++
	}
	end := layers[len(layers)-1].At
	from, until, most := began, end, 0
	for owner := range first {
		if first[owner].After(from) {
			from = first[owner]
		}
		if last[owner].Before(until) {
			until = last[owner]
		}
		most = max(most, count[owner])
	}
	steady := 0
	for _, l := range layers {
		if l.At.After(from) && !l.At.After(until) {
			steady++
		}
	}
	out := scaled{
		steady: float64(steady) / until.Sub(from).Seconds(),
		whole:  float64(len(layers)) / end.Sub(began).Seconds(),
		busy:   cpu.Seconds() / took.Seconds() / float64(runtime.NumCPU()),
	}
	b.Logf("%d layers in %.1f s, all workers at work from %.1f to %.1f s, all images resolved at %.1f s; of %d workers the fullest had %d layers, %.2f of an equal part",
		len(layers), end.Sub(began).Seconds(), from.Sub(began).Seconds(), until.Sub(began).Seconds(), resolved.Sub(began).Seconds(),
		len(count), most, float64(most*len(count))/float64(len(layers)))
	b.Logf("%.1f layers/s, %.1f to the end, %.0f %% CPU", out.steady, out.whole, 100*out.busy)
	return out
}

// ownCPU is the time that this process has run, which holds the registry's relay and submits.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
