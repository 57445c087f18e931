// Package coordinator provides the role that decides who does what: it resolves submissions to images
// and layers, sends each layer that nobody has analyzed to its shard, assigns shards to workers, looks
// at references under watch, and sends again what got lost.
//
// It pulls no layer and analyzes nothing. Any number of coordinators run; one at a time leads, the others
// wait for its end.
//
// # Guarantees
//
// A registry that does not answer keeps nobody waiting but those who want something of it: of the attempts that are made
// at once, crawls have a part, and so has each registry. An attempt that was waited for in vain is parked.
//
// A submission is in Postgres before its job is in Kafka, and its job's offset is committed after what
// it led to is in Postgres. So whatever dies, a submission is resolved: by the next reader of the job, or
// by the sweep that finds it unsent or overdue. Resolving one twice writes the same rows.
//
// Every write of a leader carries its term, and Postgres refuses it once a newer leader took office; the
// assignment in etcd is compared-and-swapped against the leader's key. A leader that was paused past its
// lease can therefore do no harm when it wakes.
package coordinator

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/election"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// Config says what a coordinator works with.
type Config struct {
	// ID names this process among the coordinators. It must be unique.
	ID      string
	Store   *store.Store
	OCI     *oci.Client
	Etcd    *clientv3.Client
	Kafka   queue.Connection
	Members Members
	// Extractor is the version of the extractor that layers are to be analyzed with.
	Extractor int
	// LeaseTTL is how long a leader that died is waited for. Zero means five seconds.
	LeaseTTL time.Duration
	// Resolving is how many submissions are resolved at once, of which crawls and each registry have a part. Zero means 128;
	// it is two at least. One registry gets three eighths of them in a crawl, and each takes two round trips or more: 48 of 50 ms
	// make some 400 images/s.
	Resolving int
	// Overdue is how long a job may be in Kafka before it is sent again. Zero means ten minutes.
	Overdue time.Duration
	// Backoff is how long a submission is parked after it failed to be resolved, given how often it had before.
	// Nil means [job.Backoff].
	Backoff func(failures int) time.Duration
	// Retention says how long things are kept that nothing refers to.
	Retention store.Retention
	// Logger gets what goes on. Nil means nobody does.
	Logger *slog.Logger
	// Metrics gets the metrics. Nil means nobody does.
	Metrics prometheus.Registerer
	// Tracing makes the spans. Nil means that nothing is traced.
	Tracing trace.TracerProvider
}

// Members tells who is alive. It is implemented by [membership.Cluster].
type Members interface {
	// Members returns the members known to be alive. It does not block.
	Members() []membership.Member
	// Watch returns a channel that gets a value soon after the members changed; changes may be
	// coalesced. It is closed when ctx is done.
	Watch(ctx context.Context) <-chan struct{}
}

// Coordinator is one candidate for the lead.
type Coordinator struct {
	config  Config
	log     *slog.Logger
	metrics *metrics
	tracer  trace.Tracer

	complaints complaints // of the election
}

// New checks the configuration. It connects nothing.
func New(config Config) (*Coordinator, error) {
	if config.ID == "" {
		return nil, fault.Newf(fault.Invalid, "configure", "coordinator", "it has no id")
	}
	if config.Resolving == 0 {
		config.Resolving = 128
	}
	if config.Overdue == 0 {
		config.Overdue = 10 * time.Minute
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Coordinator{
		config: config, log: config.Logger, metrics: newMetrics(config.Metrics), complaints: complaints{log: config.Logger},
		tracer: tracing.Tracer(config.Tracing, "coordinator"),
	}, nil
}

// Run stands for election until ctx is done, and leads whenever elected. It returns nil when told to
// stop; what it leaves in hand its successor takes up.
func (c *Coordinator) Run(ctx context.Context) error {
	return election.Run(ctx, election.Config{
		Client: c.config.Etcd,
		Prefix: cluster.CoordinatorPrefix,
		ID:     c.config.ID,
		TTL:    c.config.LeaseTTL,
		Report: c.complaints.report,
	}, c.lead)
}

// lead does the leader's work until ctx is done, which is before the lease can expire.
func (c *Coordinator) lead(ctx context.Context, elected election.Term) error {
	term, err := fenceTerm(ctx, c.config.Etcd, elected.Number)
	if err != nil {
		return err
	}
	if err := c.config.Store.TakeOffice(ctx, term); err != nil {
		return err
	}
	c.log.Info("leading", "term", term)
	c.complaints.forget()
	c.metrics.leading.Set(1)
	defer c.metrics.leading.Set(0)
	producer, err := queue.NewProducer(queue.ProducerConfig{Connection: c.config.Kafka})
	if err != nil {
		return err
	}
	defer producer.Close()
	d := &dispatcher{
		term: term, store: c.config.Store, kafka: c.config.Kafka, producer: producer, overdue: c.config.Overdue, log: c.log, metrics: c.metrics,
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.assign(ctx, elected) })
	g.Go(func() error { return d.sweep(ctx) })
	g.Go(func() error { return c.collect(ctx, term) })
	g.Go(func() error { return c.watch(ctx, term) })
	g.Go(func() error { return c.resolve(ctx, d) })
	err = g.Wait()
	if ctx.Err() != nil && fault.KindOf(err) == fault.Canceled {
		err = nil
	}
	if err != nil {
		c.log.Warn("gave up the lead", "term", term, "error", err)
		c.complaints.told(err)
	}
	return err
}
