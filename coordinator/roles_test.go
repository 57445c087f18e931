package coordinator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/trawl-scanner/trawl/coordinator"
	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/shard"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/worker"
)

// system is a cluster of roles in this process, each with cables of its own.
type system struct {
	*clustertest.Servers
	t        *testing.T
	registry *clustertest.Registry
	images   int
	pulls    func() registry.Config // of each process; nil for one that never asks twice
}

func newSystem(t *testing.T) *system {
	t.Helper()
	return &system{Servers: clustertest.Start(t), t: t, registry: clustertest.NewRegistry(t)}
}

// process is one role of the system.
type process struct {
	*clustertest.Node
	name    string
	metrics *prometheus.Registry
	healthy func() error
	leave   func() // the members
	end     func() // the role
}

// stop stops the process as a signal does.
func (p *process) stop() {
	p.leave()
	p.end()
}

func (s *system) oci() *oci.Client {
	s.t.Helper()
	config := registry.Config{Retries: -1}
	if s.pulls != nil {
		config = s.pulls()
	}
	client, err := oci.New(oci.Config{Registry: config})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	return client
}

func (s *system) logger(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("process", name)
}

// leaseTTL is how long these tests wait for a leader that died.
const leaseTTL = 2 * time.Second

func (s *system) coordinator(name string) *process {
	s.t.Helper()
	p := &process{Node: s.Node(s.t, name, 0, membership.RoleCoordinator), name: name, metrics: prometheus.NewRegistry()}
	c, err := coordinator.New(coordinator.Config{
		ID: name, Store: p.Store, OCI: s.oci(), Etcd: p.Etcd, Kafka: p.Kafka, Members: p.Members, Extractor: extract.Version,
		LeaseTTL: leaseTTL, Overdue: 2 * time.Second, Backoff: func(int) time.Duration { return 10 * time.Millisecond },
		Logger: s.logger(name), Metrics: p.metrics,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	p.run(s.t, c.Run)
	return p
}

func (s *system) worker(name string) *process {
	s.t.Helper()
	p := &process{Node: s.Node(s.t, name, 4, membership.RoleWorker), name: name, metrics: prometheus.NewRegistry()}
	w, err := worker.New(worker.Config{
		ID: name, Store: p.Store, OCI: s.oci(), Etcd: p.Etcd, Kafka: p.Kafka, Layers: 4, Drain: 10 * time.Second,
		Backoff: func(int) time.Duration { return 10 * time.Millisecond }, Logger: s.logger(name), Metrics: p.metrics,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	p.healthy = w.Healthy
	p.run(s.t, w.Run)
	return p
}

// run runs a role and its membership.
func (p *process) run(t *testing.T, role func(context.Context) error) {
	t.Helper()
	p.end, p.leave = clustertest.Go(t, role), clustertest.Go(t, p.Node.Run)
}

// submit submits n images, of which each has a layer of its own and one that all share, and returns their ids.
func (s *system) submit(n int) []string {
	s.t.Helper()
	base := clustertest.Debian("zlib1g 1:1.2.13", "perl 5.36")
	var ids []string
	for range n {
		s.images++
		reference := s.registry.Push(s.t, fmt.Sprint("app", s.images), "1", base, clustertest.Layer(clustertest.File{Name: "etc/unique", Content: rand.Text()}))
		ids = append(ids, s.submitReference(reference))
	}
	return ids
}

func (s *system) submitReference(reference string) string {
	s.t.Helper()
	id, err := uuid.NewV7()
	if err == nil {
		err = s.Store.Submit(s.t.Context(), []store.Submission{{ID: id.String(), Target: reference, Lane: job.Now}})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return id.String()
}

// await waits until all submissions are done, and holds that each has a whole result.
func (s *system) await(ids []string) {
	s.t.Helper()
	clustertest.Eventually(s.t, "all images have a result", func() bool {
		for _, id := range ids {
			sub, err := s.Store.Submission(s.t.Context(), id)
			if err != nil {
				s.t.Fatal(err)
			}
			if !sub.Done() {
				return false
			}
			if sub.State != store.Resolved || sub.Images[0].State != store.ImageComplete {
				s.t.Fatalf("%+v: %+v", sub, sub.Problem)
			}
		}
		return true
	})
	backlog, err := s.Store.Backlog(s.t.Context())
	if err != nil || backlog != (store.Backlog{LayersFailed: backlog.LayersFailed}) {
		s.t.Errorf("left over: %+v, %v", backlog, err)
	}
}

// picture asks a process who does what.
func (p *process) picture(t *testing.T) cluster.Picture {
	t.Helper()
	picture, err := p.Picture(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// awaitOwners waits until the workers of these names own all shards between them, and returns how many each.
func awaitOwners(t *testing.T, from *process, workers ...string) map[string]int {
	t.Helper()
	var owned map[string]int
	clustertest.Eventually(t, fmt.Sprintf("all shards are owned by %v", workers), func() bool {
		picture := from.picture(t)
		owned = picture.Owned
		return picture.Unowned == 0 && slices.Equal(slices.Sorted(maps.Keys(owned)), workers)
	})
	return owned
}

// leads reports whether a coordinator leads, as it sees it.
func (p *process) leads(t *testing.T) bool {
	t.Helper()
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "trawl_coordinator_leading" {
			return f.GetMetric()[0].GetGauge().GetValue() == 1
		}
	}
	return false
}

// TestCluster lets two coordinators and three workers come and go while images are submitted.
func TestCluster(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a, b := s.coordinator("a"), s.coordinator("b")
	w1, w2, w3 := s.worker("w1"), s.worker("w2"), s.worker("w3")
	clustertest.Eventually(t, "no worker owns more than its cap", func() bool {
		owned := awaitOwners(t, a, "w1", "w2", "w3")
		return slices.Max(slices.Collect(maps.Values(owned))) <= shard.Caps([]shard.Worker{{ID: "w1", Weight: 1}, {ID: "w2", Weight: 1}, {ID: "w3", Weight: 1}})[0]
	})
	s.await(s.submit(60))
	shared := "app1/blobs/" + digest.SHA256(clustertest.Debian("zlib1g 1:1.2.13", "perl 5.36")).String()
	if n := s.registry.Requests(shared); n > 1 {
		t.Errorf("a layer that all images share was asked for %d times", n)
	}

	t.Run("the leader steps down", func(t *testing.T) {
		leader, other := a, b
		if b.leads(t) {
			leader, other = b, a
		}
		ids := s.submit(30)
		began := time.Now()
		leader.stop()
		clustertest.Eventually(t, "the other leads", func() bool { return other.leads(t) })
		t.Logf("the other leads after %s", time.Since(began))
		s.await(ids)
		a = other
	})
	t.Run("a worker leaves", func(t *testing.T) {
		ids := s.submit(30)
		began := time.Now()
		w3.stop()
		awaitOwners(t, a, "w1", "w2")
		t.Logf("its shards have new owners after %s", time.Since(began))
		s.await(ids)
	})
	t.Run("a worker is cut off", func(t *testing.T) {
		ids := s.submit(30)
		began := time.Now()
		w2.Cables.Cut()
		w2.leave()
		awaitOwners(t, a, "w1")
		took := time.Since(began)
		t.Logf("its shards have new owners after %s", took)
		if took > 20*time.Second {
			t.Errorf("its shards have new owners after %s", took)
		}
		s.await(append(ids, s.submit(10)...))
	})
	t.Run("it comes back", func(t *testing.T) {
		for _, cable := range []*clustertest.Cable{w2.Cables.Postgres, w2.Cables.Etcd, w2.Cables.Kafka} {
			cable.Mend()
		}
		clustertest.Go(t, w2.Node.Run)
		awaitOwners(t, a, "w1", "w2")
		s.await(s.submit(30))
	})
	for _, p := range []*process{a, w1, w2} {
		if problems, err := testutil.GatherAndLint(p.metrics); err != nil || len(problems) > 0 {
			t.Errorf("metrics of %s: %v, %v", p.name, problems, err)
		}
	}
}

// TestDeafWorker holds that a worker which is alive among the members and cannot reach etcd does not keep its shards.
func TestDeafWorker(t *testing.T) {
	t.Parallel()
	if os.Getenv("TRAWL_TEST_LONG") == "" {
		t.Skip("it takes half a minute: only with TRAWL_TEST_LONG=1")
	}
	s := newSystem(t)
	a := s.coordinator("a")
	s.worker("w1")
	w2 := s.worker("w2")
	awaitOwners(t, a, "w1", "w2")
	w2.Cables.Etcd.Cut()
	ids := s.submit(30)
	awaitOwners(t, a, "w1")
	s.await(ids)
	w2.Cables.Etcd.Mend()
}

// TestPoison holds that jobs which cannot be read become dead letters, and take nothing along.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	s.worker("w")
	awaitOwners(t, a, "w")
	producer, err := queue.NewProducer(queue.ProducerConfig{Connection: queue.Connection{Brokers: s.Kafka}})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	stranger := job.Layer{Digest: digest.SHA256([]byte("of no image")), Repositories: []string{s.registry.Host() + "/app"}, Lane: job.Now}
	unknown, err := queue.LayerMessage(stranger, shard.Of(stranger.Digest))
	if err != nil {
		t.Fatal(err)
	}
	messages := []queue.Message{unknown}
	for _, topic := range []string{queue.TopicImages, queue.TopicImagesNow, queue.TopicLayers, queue.TopicLayersNow} {
		for _, value := range []string{"", "garbage", `{"v":1}`, `{"v":99,"digest":"x"}`, "\x00\xff"} {
			messages = append(messages, queue.Message{Topic: topic, Partition: 3, Value: []byte(value)})
		}
	}
	if err := producer.Produce(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	s.await(s.submit(20))
	const want = 20
	clustertest.Eventually(t, "all have a dead letter", func() bool {
		return len(s.Records(t, queue.TopicDeadLetters)) >= want
	})
	kinds := make(map[string]int)
	for _, value := range s.Records(t, queue.TopicDeadLetters) {
		letter, err := job.DecodeDeadLetter(value)
		if err != nil || letter.Reason == "" || letter.FaultKind == "" {
			t.Errorf("%s: %+v, %v", value, letter, err)
		}
		kinds[letter.Kind]++
	}
	if kinds[job.KindImage] != want/2 || kinds[job.KindLayer] != want/2 {
		t.Errorf("dead letters by kind: %v", kinds)
	}
}

// TestDuplicateJobs holds that a job which comes many times is done once.
func TestDuplicateJobs(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	w := s.worker("w")
	awaitOwners(t, a, "w")
	release := make(chan struct{})
	s.registry.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v2/app1/blobs/") && !strings.HasSuffix(r.URL.Path, clustertest.NewManifest().Config.Digest) {
			<-release
		}
		return false
	})
	ids := s.submit(1)
	layer := digest.SHA256(clustertest.Debian("zlib1g 1:1.2.13", "perl 5.36"))
	clustertest.Eventually(t, "the layer is being read", func() bool {
		return s.registry.Requests("app1/blobs/"+layer.String()) == 1
	})
	producer, err := queue.NewProducer(queue.ProducerConfig{Connection: queue.Connection{Brokers: s.Kafka}})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	send := func(n int) {
		for i := range n {
			message, err := queue.LayerMessage(job.Layer{Digest: layer, Repositories: []string{s.registry.Host() + "/app1"}, Lane: job.Lanes[i%2]}, shard.Of(layer))
			if err == nil {
				err = producer.Produce(t.Context(), []queue.Message{message})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	send(20)
	close(release)
	s.await(ids)
	send(20)
	clustertest.Eventually(t, "no job is left", func() bool { return s.lag(t) == 0 })
	if n := s.registry.Requests("app1/blobs/" + layer.String()); n > 5 {
		t.Errorf("the layer was read %d times for 41 jobs", n)
	}
	if err := w.healthy(); err != nil {
		t.Error(err)
	}
	var results int
	for _, f := range gather(t, w.metrics) {
		if f == "trawl_worker_images_total" {
			results++
		}
	}
	if results > 1 {
		t.Errorf("images were completed with %d kinds of result", results)
	}
}

func gather(t *testing.T, r *prometheus.Registry) (names []string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
	}
	return names
}

// lag returns how many layer jobs are not known to be done.
func (s *system) lag(t *testing.T) (n int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, topic := range []string{queue.TopicLayers, queue.TopicLayersNow} {
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := admin.FetchOffsets(t.Context(), "trawl-workers")
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(end kadm.ListedOffset) {
			done, ok := committed.Lookup(topic, end.Partition)
			if ok {
				n += end.Offset - done.At
			} else {
				n += end.Offset
			}
		})
	}
	return n
}

// TestKafkaLost holds that losing all of Kafka loses no work.
func TestKafkaLost(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	s.worker("w")
	awaitOwners(t, a, "w")
	s.await(s.submit(5))
	var blocked atomic.Bool
	blocked.Store(true)
	s.registry.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if blocked.Load() && strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	ids := s.submit(20)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var names []string
	for _, topic := range queue.Topics() {
		names = append(names, topic.Name)
	}
	if _, err := kadm.NewClient(client).DeleteTopics(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	blocked.Store(false)
	s.await(append(ids, s.submit(10)...))
}

// TestPostgresAway holds that work goes on where it was when the database comes back.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	w := s.worker("w")
	awaitOwners(t, a, "w")
	ids := s.submit(40)
	for _, p := range []*process{a, w} {
		p.Cables.Postgres.Cut()
		if err := p.Store.Ping(t.Context()); err == nil {
			t.Error("the database answers over a cable that is cut")
		}
	}
	for _, p := range []*process{a, w} {
		p.Cables.Postgres.Mend()
	}
	s.await(ids)
}

// TestPartitionedLeader holds that a leader which is cut off from etcd stops before another begins, and that what it still
// writes with its term is refused.
func TestPartitionedLeader(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	clustertest.Eventually(t, "a leads", func() bool { return a.leads(t) })
	b := s.coordinator("b")
	w := s.worker("w")
	awaitOwners(t, b, "w")
	old := b.picture(t).Leader
	ids := s.submit(20)
	began := time.Now()
	a.Cables.Etcd.Cut()
	clustertest.Eventually(t, "b leads", func() bool { return b.leads(t) })
	if a.leads(t) {
		t.Error("both lead")
	}
	took := time.Since(began)
	t.Logf("b leads after %s, with a lease of %s", took, leaseTTL)
	if took > leaseTTL+3*time.Second {
		t.Errorf("b leads after %s", took)
	}
	if now := b.picture(t).Leader; now.Term <= old.Term || now.ID != "b" {
		t.Errorf("leader %+v after %+v", now, old)
	}
	// Any term below that of the leader is one of the past.
	_, err := s.Store.RecordResolutions(t.Context(), old.Term, extract.Version, nil)
	if !errors.Is(err, store.ErrFenced) {
		t.Errorf("the write of a leader of the past: %v", err)
	}
	s.await(ids)
	a.Cables.Etcd.Mend()
	_ = w
}

// TestReadiness holds that each server which is away is named.
func TestReadiness(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	a := s.coordinator("a")
	w := s.worker("w")
	awaitOwners(t, a, "w")
	check := func(ask func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return ask(ctx)
	}
	for _, c := range []struct {
		name  string
		cable *clustertest.Cable
		ask   func(context.Context) error
		says  string
	}{
		{"Postgres", w.Cables.Postgres, w.Store.Ping, "database"},
		{"etcd", w.Cables.Etcd, w.CheckEtcd, "etcd"},
		{"Kafka", w.Cables.Kafka, func(context.Context) error { return w.healthy() }, "broker"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := check(c.ask); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.cable.Cut()
			var err error
			clustertest.Eventually(t, "it is noticed", func() bool { err = check(c.ask); return err != nil })
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("it does not say which server is away: %v", err)
			}
			c.cable.Mend()
			clustertest.Eventually(t, "it is well again", func() bool { return check(c.ask) == nil })
		})
	}
	s.await(s.submit(5))
}

// TestLeaks holds that roles which have ended leave nothing running.
func TestLeaks(t *testing.T) {
	s := newSystem(t)
	s.submit(3)
	ignored := goleak.IgnoreCurrent()
	t.Run("two roles", func(t *testing.T) {
		inner := &system{Servers: s.Servers, t: t, registry: s.registry, images: s.images}
		a, w := inner.coordinator("a"), inner.worker("w")
		inner.await(inner.submit(3))
		a.stop()
		w.stop()
	})
	s.registry.CloseConnections()
	// A member that leaves does not wait for a probe under way, which ends by its own timeout.
	goleak.VerifyNone(t, ignored, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}
