package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/deploy/local"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

var scalingLayers = flag.Int("scaling-layers", 160, "how many layers BenchmarkScaling has for each worker")

// distant is the registry of BenchmarkScaling: a round trip takes 50 ms, and a connection carries 128 KiB/s.
//
// What a connection carries is bounded, and not what the registry does, because that is how it is with one: behind each
// stands a network of caches, which has more for all than anybody takes, and what one connection gets is bounded by its
// window and the round trip, or by rule. A worker holds one connection for each layer under way, so what it reads is
// bounded by its slots, as on a machine of its own.
var distant = local.Path{RoundTrip: 50 * time.Millisecond, BytesPerSecond: 128 << 10}

// BenchmarkScaling has layers analyzed by 1, 2, 4, 8 and 16 workers of two slots each, which read them from a distant
// registry; see [distant]. A worker then waits for nearly all of its time, so that 16 of them have room on one machine:
// what is measured is whether the cluster keeps them all at work, not what a processor can do. Each image has one layer of
// 64 KiB that no other has.
//
// It tells two rates, and each as a part of so many times that of one worker. The steady one is of the time in which all
// workers are at work: from when the last of them has its first layer until the first of them has done its last. The
// other is of all the time, from the first submission until the last layer; what it lacks are the waits for the
// first layer, and for those workers which have more to do than others at the end: of few layers one worker has many more
// than another by chance, which -scaling-layers makes less. The part of processors holds what others do on this machine.
func BenchmarkScaling(b *testing.B) {
	sizes, layers, config := []int{1, 2, 4, 8, 16}, *scalingLayers, local.Config{}
	if testing.Short() {
		sizes, layers, config.Scratch = []int{1, 2}, 6, true
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
			if one.steady > 0 { // else one worker was not asked for
				b.ReportMetric(now.steady/one.steady/float64(n), "linear")
				b.ReportMetric(now.whole/one.whole/float64(n), "linear-to-end")
			}
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
	began := time.Now()
	busyBefore, allBefore := processors()
	result := scanAll(b, c, references)
	busy, all := processors()
	members := logUsage(b, result)

	layers := analyzedSince(b, conn, began)
	end := layers[len(layers)-1].At
	full := inFull(layers, owners, began)
	out := scaled{
		steady: float64(full.layers) / full.until.Sub(full.from).Seconds(),
		whole:  float64(len(layers)) / end.Sub(began).Seconds(),
		busy:   (busy - busyBefore) / (all - allBefore),
	}
	var resolved time.Time
	if err := conn.QueryRow(b.Context(), `SELECT max(resolved_at) FROM submission WHERE created_at > $1`, began).Scan(&resolved); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d layers in %.1f s, all workers at work from %.1f to %.1f s, all images resolved at %.1f s; of %d workers the fullest had %d layers, %.2f of an equal part",
		len(layers), end.Sub(began).Seconds(), full.from.Sub(began).Seconds(), full.until.Sub(began).Seconds(), resolved.Sub(began).Seconds(),
		full.workers, full.most, float64(full.most*full.workers)/float64(len(layers)))
	b.Logf("%.1f layers/s, %.1f to the end; processors were busy for %.0f %%, with members for %.0f %%",
		out.steady, out.whole, 100*out.busy, 100*members.Seconds()/result.Done.Seconds()/float64(runtime.NumCPU()))
	return out
}

// analyzed is a layer that was.
type analyzed struct {
	At    time.Time
	Shard int
}

// analyzedSince returns what was analyzed since a moment, in order.
func analyzedSince(b *testing.B, conn *pgx.Conn, since time.Time) []analyzed {
	b.Helper()
	rows, err := conn.Query(b.Context(), `SELECT analyzed_at, digest FROM layer WHERE analyzed_at > $1 ORDER BY 1`, since)
	if err != nil {
		b.Fatal(err)
	}
	layers, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a analyzed, err error) {
		var sum []byte
		if err := row.Scan(&a.At, &sum); err != nil {
			return a, err
		}
		layer, err := digest.FromBytes(sum)
		a.Shard = shard.Of(layer)
		return a, err
	})
	if err != nil || len(layers) == 0 {
		b.Fatalf("%d layers were analyzed (%v)", len(layers), err)
	}
	return layers
}

// span is the time in which all workers are at work.
type span struct {
	from, until time.Time
	layers      int // that are done in it
	workers     int
	most        int // layers that one worker had, in all of the time
}

// inFull finds the time in which all workers are at work. All is in order of time, and began before.
func inFull(all []analyzed, owners shard.Assignment, began time.Time) span {
	first, last, count := make(map[string]time.Time), make(map[string]time.Time), make(map[string]int)
	for _, l := range all {
		owner := owners[l.Shard]
		if count[owner]++; count[owner] == 1 {
			first[owner] = l.At
		}
		last[owner] = l.At
	}
	s := span{from: began, until: all[len(all)-1].At, workers: len(count)}
	for owner, n := range count {
		if first[owner].After(s.from) {
			s.from = first[owner]
		}
		if last[owner].Before(s.until) {
			s.until = last[owner]
		}
		s.most = max(s.most, n)
	}
	for _, l := range all {
		if l.At.After(s.from) && !l.At.After(s.until) {
			s.layers++
		}
	}
	return s
}

// processors returns how long the processors of this machine were at work, for whomever, and how long there were any, in
// ticks (proc_stat(5)). Where that is not told, it returns 0 and 1.
func processors() (busy, all float64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 1
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil || i > 8 { // the name of the line, and what counts twice
			continue
		}
		if all += n; i != 4 && i != 5 { // idle, iowait
			busy += n
		}
	}
	return busy, all
}
