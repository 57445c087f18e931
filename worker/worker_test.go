package worker_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/shard"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/worker"
)

// term is the leader's in these tests, which do a leader's work themselves.
const term = 7

// system is a worker on real servers, of which the test is the leader.
type system struct {
	*clustertest.Servers
	t        *testing.T
	node     *clustertest.Node
	registry *clustertest.Registry
	producer *queue.Producer
	metrics  *prometheus.Registry
	images   int
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{Servers: clustertest.Start(t), t: t, registry: clustertest.NewRegistry(t), metrics: prometheus.NewRegistry()}
	s.node = s.Node(t, "w", 4, membership.RoleWorker)
	if err := s.Store.TakeOffice(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.producer, err = queue.NewProducer(queue.ProducerConfig{Connection: queue.Connection{Brokers: s.Kafka}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.producer.Close)
	s.assign("w")
	return s
}

// assign gives all shards to one worker.
func (s *system) assign(name string) {
	s.t.Helper()
	value, err := shard.Assign([]shard.Worker{{ID: name, Weight: 1}}).MarshalJSON()
	if err == nil {
		_, err = s.node.Etcd.Put(s.t.Context(), shard.AssignmentKey, string(value))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// start starts a worker, which stops with the test or when it is told to.
func (s *system) start(name string, change func(*worker.Config)) (*worker.Worker, func()) {
	s.t.Helper()
	client, err := oci.New(oci.Config{Registry: registry.Config{Retries: -1}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	config := worker.Config{
		ID: name, Store: s.node.Store, OCI: client, Etcd: s.node.Etcd, Kafka: s.node.Kafka, Layers: 4, Drain: 15 * time.Second,
		Backoff: func(int) time.Duration { return time.Hour }, Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)), Metrics: s.metrics,
	}
	if change != nil {
		change(&config)
	}
	w, err := worker.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return w, clustertest.Go(s.t, w.Run)
}

// submit records n images of one layer each that people wait for, and sends the jobs. It returns the layers.
func (s *system) submit(n int) []digest.Digest {
	s.t.Helper()
	return s.submitIn(job.Now, n)
}

// submitIn is submit in a lane.
func (s *system) submitIn(lane job.Lane, n int) []digest.Digest {
	s.t.Helper()
	var layers []digest.Digest
	var resolutions []store.Resolution
	var submissions []store.Submission
	for range n {
		s.images++
		content := clustertest.Layer(clustertest.DebianRelease, clustertest.Status("zlib1g 1"), clustertest.File{Name: "etc/unique", Content: rand.Text()})
		name := fmt.Sprint("app", s.images)
		s.registry.Push(s.t, name, "1", content)
		id := fmt.Sprintf("00000000-0000-7000-8000-%012d", s.images)
		submissions = append(submissions, store.Submission{ID: id, Target: name})
		layers = append(layers, digest.SHA256(content))
		resolutions = append(resolutions, store.Resolution{
			Submission: id, Reference: name, Repository: s.registry.Host() + "/" + name, Digest: digest.SHA256([]byte(name)), Lane: lane,
			Images: []store.ResolvedImage{{Digest: digest.SHA256([]byte(name)), Layers: []job.Layer{{Digest: digest.SHA256(content)}}}},
		})
	}
	if err := s.Store.Submit(s.t.Context(), submissions); err != nil {
		s.t.Fatal(err)
	}
	dispatch, err := s.Store.RecordResolutions(s.t.Context(), term, extract.Version, resolutions)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(dispatch.Send...)
	return layers
}

func (s *system) send(layers ...job.Layer) {
	s.t.Helper()
	var messages []queue.Message
	for _, layer := range layers {
		message, err := queue.LayerMessage(layer, shard.Of(layer.Digest))
		if err != nil {
			s.t.Fatal(err)
		}
		messages = append(messages, message)
	}
	if err := s.producer.Produce(s.t.Context(), messages); err != nil {
		s.t.Fatal(err)
	}
}

// analyzed returns how many of the layers are.
func (s *system) analyzed(layers []digest.Digest) int {
	s.t.Helper()
	known, err := s.Store.Analyzed(s.t.Context(), extract.Version, layers)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(known)
}

func (s *system) awaitAnalyzed(layers []digest.Digest) {
	s.t.Helper()
	clustertest.Eventually(s.t, "all layers are analyzed", func() bool { return s.analyzed(layers) == len(layers) })
}

// owners returns how many shards are owned.
func (s *system) owners() int {
	s.t.Helper()
	response, err := s.node.Etcd.Get(s.t.Context(), shard.OwnerPrefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		s.t.Fatal(err)
	}
	return int(response.Count)
}

// failure returns why the last attempt at a layer failed, and when there will be another.
func (s *system) failure(layer digest.Digest) (kind string, notBefore *time.Time) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.DSN)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	err = conn.QueryRow(s.t.Context(), `SELECT coalesce(problem->>'kind', ''), not_before FROM layer WHERE digest = $1`, layer.Bytes()).Scan(&kind, &notBefore)
	if err != nil {
		s.t.Fatal(err)
	}
	return kind, notBefore
}

// hold keeps the registry from answering for layers until the returned function is called. It counts requests.
func (s *system) hold() (release func(), asked *atomic.Int32) {
	gate := make(chan struct{})
	asked = new(atomic.Int32)
	s.registry.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			asked.Add(1)
			select {
			case <-gate:
			case <-r.Context().Done():
			}
		}
		return false
	})
	return func() { close(gate) }, asked
}

// TestNowGoesFirst holds that what people wait for is read at once where a crawl holds all slots and many of its jobs
// wait, and then layer after layer before all of the crawl.
func TestNowGoesFirst(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	const slots, crawled = 4, 400
	s.start("w", nil)
	asked, free, all := make(chan string), make(chan struct{}), make(chan struct{})
	s.registry.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		_, blob, ok := strings.Cut(r.URL.Path, "/blobs/")
		if !ok {
			return false
		}
		select {
		case asked <- blob:
		case <-r.Context().Done():
		case <-all:
		}
		select {
		case <-free:
		case <-r.Context().Done():
		case <-all:
		}
		return false
	})
	bulk := s.submitIn(job.Bulk, crawled)
	for range slots {
		<-asked
	}
	now := s.submitIn(job.Now, slots) // more would have to wait for one another
	next := func(what string) {
		t.Helper()
		select {
		case blob := <-asked:
			if !slices.ContainsFunc(now, func(d digest.Digest) bool { return d.String() == blob }) {
				t.Errorf("%s: one of the crawl was begun", what)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: nothing was begun", what)
		}
	}
	next("all slots are held")
	for range slots - 1 {
		free <- struct{}{}
		next("a slot is free")
	}
	close(all)
	s.awaitAnalyzed(append(now, bulk...))
}

// TestDrain holds that a worker which is told to stop finishes what it has begun, leaves the rest, and does not wait for
// what it will not begin.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	_, stop := s.start("w", nil)
	clustertest.Eventually(t, "all shards are owned", func() bool { return s.owners() == shard.Count })
	release, asked := s.hold()
	layers := s.submit(60)
	clustertest.Eventually(t, "four layers are being read", func() bool { return asked.Load() == 4 })
	stopped := make(chan time.Duration)
	go func() {
		began := time.Now()
		stop()
		stopped <- time.Since(began)
	}()
	clustertest.Eventually(t, "shards without work in hand are free", func() bool { return s.owners() < shard.Count })
	release()
	took := <-stopped
	t.Logf("stopped after %s, with %d of %d layers analyzed", took, s.analyzed(layers), len(layers))
	if took > 5*time.Second {
		t.Errorf("stopped after %s", took)
	}
	if n := s.analyzed(layers); n != 4 {
		t.Errorf("%d layers are analyzed, want the four that were begun", n)
	}
	if n := s.owners(); n != 0 {
		t.Errorf("%d shards are still owned", n)
	}
	s.metrics = prometheus.NewRegistry()
	s.start("w", nil)
	s.awaitAnalyzed(layers)
	if n := asked.Load(); n != 60 {
		t.Errorf("%d layers were read, want each once", n)
	}
}

// TestDrainTakesTooLong holds that work which does not end is given up, and done by the next.
func TestDrainTakesTooLong(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	_, stop := s.start("w", func(c *worker.Config) { c.Drain = 500 * time.Millisecond })
	release, asked := s.hold()
	layers := s.submit(2)
	clustertest.Eventually(t, "the layers are being read", func() bool { return asked.Load() == 2 })
	began := time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopped after %s", took)
	}
	if n := s.owners(); n != 0 {
		t.Errorf("%d shards are still owned", n)
	}
	release()
	s.metrics = prometheus.NewRegistry()
	s.start("w", nil)
	s.awaitAnalyzed(layers)
}

// TestHandOver holds that a shard which is given to another is handed over when what is in hand is done, and that each
// layer is read once.
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start("w", nil)
	release, asked := s.hold()
	layers := s.submit(30)
	clustertest.Eventually(t, "four layers are being read", func() bool { return asked.Load() == 4 })
	s.metrics = prometheus.NewRegistry()
	s.start("v", nil)
	s.assign("v")
	more := s.submit(10)
	release()
	s.awaitAnalyzed(append(layers, more...))
	clustertest.Eventually(t, "the other owns all shards", func() bool {
		response, err := s.node.Etcd.Get(t.Context(), shard.OwnerPrefix, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, kv := range response.Kvs {
			if string(kv.Value) == "v" {
				n++
			}
		}
		return n == shard.Count
	})
	if n := int(asked.Load()); n != len(layers)+len(more) {
		t.Errorf("%d reads of %d layers", n, len(layers)+len(more))
	}
}

// TestWitnesses holds that a layer is read from the first repository that gives it, and fails as what is most hopeful.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start("w", nil)
	s.registry.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
		switch name {
		case "missing":
			w.WriteHeader(http.StatusNotFound)
		case "private":
			w.WriteHeader(http.StatusForbidden)
		case "away":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "limited":
			w.Header().Set("Retry-After", "7200")
			w.WriteHeader(http.StatusTooManyRequests)
		case "lying":
			_, _ = w.Write(clustertest.Debian("evil 1"))
		default:
			return false
		}
		return true
	})
	for _, c := range []struct {
		name         string
		repositories []string
		fine         bool
		kind         string
		again        bool
		least        time.Duration
	}{
		{"the second has it", []string{"missing", "good"}, true, "", false, 0},
		{"one is away", []string{"away", "good"}, true, "", false, 0},
		{"one gives other bytes", []string{"lying", "good"}, true, "", false, 0},
		{"the last has it", []string{"private", "limited", "away", "good"}, true, "", false, 0},
		{"nobody has it", []string{"missing", "private"}, false, "unauthorized", false, 0},
		{"one may have it later", []string{"away", "missing"}, false, "unavailable", true, 50 * time.Minute},
		{"it gives other bytes", []string{"lying"}, false, "corrupt", true, 50 * time.Minute},
		{"broken", []string{"good"}, false, "corrupt", false, 0},
		{"one says when", []string{"missing", "limited"}, false, "rate-limited", true, 2*time.Hour - time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.images++
			content := clustertest.Debian(fmt.Sprint("zlib1g ", s.images))
			if c.name == "broken" {
				content = content[:len(content)/2]
			}
			d := digest.SHA256(content)
			s.registry.Push(t, "good", "1", content)
			id := fmt.Sprintf("00000000-0000-7000-8000-%012d", s.images)
			err := s.Store.Submit(t.Context(), []store.Submission{{ID: id, Target: c.name}})
			if err != nil {
				t.Fatal(err)
			}
			image := digest.SHA256([]byte(c.name))
			dispatch, err := s.Store.RecordResolutions(t.Context(), term, extract.Version, []store.Resolution{{
				Submission: id, Reference: c.name, Repository: "x", Digest: image, Images: []store.ResolvedImage{{Digest: image, Layers: []job.Layer{{Digest: d}}}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			layer := dispatch.Send[0]
			layer.Repositories = nil
			for _, name := range c.repositories {
				layer.Repositories = append(layer.Repositories, s.registry.Host()+"/"+name)
			}
			s.send(layer)
			if c.fine {
				s.awaitAnalyzed([]digest.Digest{d})
				return
			}
			var kind string
			var notBefore *time.Time
			clustertest.Eventually(t, "the attempt is recorded", func() bool {
				kind, notBefore = s.failure(d)
				return kind != ""
			})
			if kind != c.kind || (notBefore != nil) != c.again || (c.again && time.Until(*notBefore) < c.least) {
				t.Errorf("%s, again at %v; want %s, again %t", kind, notBefore, c.kind, c.again)
			}
		})
	}
	clustertest.Eventually(t, "the layers that nobody has and that are broken are counted as given up", func() bool {
		return count(t, s.metrics, "trawl_worker_dead_letters_total", job.KindLayer) == 2
	})
}

// TestDatabaseAway holds that results wait for a database that is away, and that none counts as refused.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	w, _ := s.start("w", nil)
	release, asked := s.hold()
	layers := s.submit(8)
	clustertest.Eventually(t, "four layers are being read", func() bool { return asked.Load() == 4 })
	s.node.Cables.Postgres.Cut()
	release()
	clustertest.Eventually(t, "the database is missed", func() bool { return s.node.Store.Ping(t.Context()) != nil })
	s.node.Cables.Postgres.Mend()
	s.awaitAnalyzed(layers)
	if err := w.Healthy(); err != nil {
		t.Error(err)
	}
	if lost := count(t, s.metrics, "trawl_worker_layers_total", "lost"); lost > 0 {
		t.Errorf("%g results were lost", lost)
	}
}

// count returns the value of a counter with one label.
func count(t *testing.T, r *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestMetrics holds that the metrics tell what was done.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.start("w", nil)
	layers := s.submit(5)
	s.awaitAnalyzed(layers)
	clustertest.Eventually(t, "five layers and images are counted", func() bool {
		return count(t, s.metrics, "trawl_worker_layers_total", "analyzed") == 5 && count(t, s.metrics, "trawl_worker_images_total", "complete") == 5
	})
	if problems, err := testutil.GatherAndLint(s.metrics); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestConfig(t *testing.T) {
	if _, err := worker.New(worker.Config{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a worker without id: %v", err)
	}
	w, err := worker.New(worker.Config{ID: "w"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Healthy(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a worker that does not run: %v", err)
	}
	if n := (worker.Config{}).Capacity(); n != 8 {
		t.Errorf("capacity %d", n)
	}
}
