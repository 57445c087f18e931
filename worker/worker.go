// Package worker provides the role that analyzes layers: it owns shards, reads their jobs, reads each
// layer once as a stream, and commits what it found in batches.
//
// It decides nothing about what is to be analyzed (the coordinator does), nor how a layer is read (package
// extract) or an inventory correlated (package store).
//
// # Guarantees
//
// The offset of a job is committed after its result is in Postgres; results are addressed by the layer's
// digest and idempotent. So a worker may die at any moment: its jobs are read again by whoever owns the
// shard next, and a job done twice leaves the same rows. That a shard has one owner at a time saves work;
// nothing rests on it.
//
// # Order
//
// A layer that people wait for is begun before all of a crawl: with the next slot that gets free, and there is one
// more slot for such layers while any of a crawl is under way. A registry that holds three quarters of the slots lets others go first. A layer
// that is under way is not interrupted for another. One whose transfer stands still gives its slot back after a minute or
// two, and is parked; see package registry.
//
// # Limits
//
// Memory is bounded by the layers under way, [Config.Layers] and one, and what the extractor holds for each, a
// few MiB; jobs that wait are references. A worker that is told to stop finishes what it has in hand, for
// [Config.Drain] at the longest.
package worker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// Config says what a worker works with.
type Config struct {
	// ID names this process among the workers; it is the name under which it is a member, and which
	// assignments use. It must be unique.
	ID    string
	Store *store.Store
	OCI   *oci.Client
	Etcd  *clientv3.Client
	Kafka queue.Connection
	// Layers is how many layers are analyzed at once, and one more for people who wait while a crawl is
	// under way. Zero means eight.
	Layers int
	// Limits bound each layer.
	Limits limits.Limits
	// Backoff is how long a layer is parked after it failed, given how often it had before. Nil means [job.Backoff].
	Backoff func(failures int) time.Duration
	// Drain is how long work in hand may go on after the worker was told to stop. Zero means 30 seconds.
	Drain time.Duration
	// Logger gets what goes on. Nil means nobody does.
	Logger *slog.Logger
	// Metrics gets the metrics. Nil means nobody does.
	Metrics prometheus.Registerer
	// Tracing makes the spans. Nil means that nothing is traced.
	Tracing trace.TracerProvider
}

// Capacity is what a worker of this configuration counts for when shards are assigned.
func (c Config) Capacity() int {
	if c.Layers == 0 {
		return defaultLayers
	}
	return c.Layers
}

const (
	defaultLayers = 8
	defaultDrain  = 30 * time.Second
)

// Worker analyzes layers.
type Worker struct {
	config    Config
	log       *slog.Logger
	metrics   *metrics
	tracer    trace.Tracer
	reader    *queue.Reader
	running   atomic.Pointer[queue.Reader] // reader, for Healthy
	producer  *queue.Producer
	extractor *extract.Extractor
	underway  *underway
	results   chan result
}

// New checks the configuration. It connects nothing.
func New(config Config) (*Worker, error) {
	if config.ID == "" {
		return nil, fault.Newf(fault.Invalid, "configure", "worker", "it has no id")
	}
	config.Layers = config.Capacity()
	if config.Drain == 0 {
		config.Drain = defaultDrain
	}
	config.Limits = config.Limits.WithDefaults()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker{
		config: config, log: config.Logger, metrics: newMetrics(config.Metrics),
		tracer:    tracing.Tracer(config.Tracing, "worker"),
		extractor: &extract.Extractor{Limits: config.Limits},
		underway:  newUnderway(), results: make(chan result, commitSize),
	}, nil
}

// Run works until ctx is done, then drains and returns nil.
func (w *Worker) Run(ctx context.Context) (err error) {
	if w.producer, err = queue.NewProducer(queue.ProducerConfig{Connection: w.config.Kafka}); err != nil {
		return err
	}
	defer w.producer.Close()
	w.reader, err = queue.NewReader(queue.ReaderConfig{
		Connection: w.config.Kafka, Group: queue.GroupWorkers, Now: queue.LayersTopic(job.Now), Bulk: queue.LayersTopic(job.Bulk),
	})
	if err != nil {
		return err
	}
	w.running.Store(w.reader)
	// Four contexts, each outliving the one before: ctx says to take no more; busy ends when nothing is in hand any
	// more, or drain does, which says how long that may take; reading ends when all is done.
	drain, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(w.config.Drain, func() {
			cancel(fault.Newf(fault.Canceled, "drain", "", "what was in hand took longer than %s", w.config.Drain))
		})
		context.AfterFunc(drain, func() { timer.Stop() })
	})()
	busy, idle := context.WithCancel(drain)
	defer idle()
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()

	owner := &ownership{id: w.config.ID, client: w.config.Etcd, reader: w.reader, log: w.log, owned: func(n int) { w.metrics.shards.Set(float64(n)) }}
	var readers, workers errgroup.Group
	readers.Go(func() error { return w.reader.Run(reading) })
	workers.Go(func() error { return owner.run(ctx, busy) })
	workers.Go(func() error { return w.analyzeAll(ctx, drain) })
	workers.Go(func() error {
		defer idle() // what was read and not begun is in hand too, but nobody will bring it to an end
		return w.commitAll(drain)
	})
	workers.Go(func() error { return w.showProgress(ctx) })
	err = workers.Wait()
	stopReading()
	if failed := readers.Wait(); err == nil {
		err = failed
	}
	return err
}

// Healthy returns what keeps the worker from reading jobs at the moment, or nil.
func (w *Worker) Healthy() error {
	if r := w.running.Load(); r != nil {
		return r.Healthy()
	}
	return fault.Newf(fault.Unavailable, "read jobs", "", "not started yet")
}

// Load returns how many layers are being analyzed. Safe for concurrent use.
func (w *Worker) Load() int { return w.underway.count() }
