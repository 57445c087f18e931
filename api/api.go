// Package api provides the role that people and programs talk to: REST, described by OpenAPI 3.1, with
// server-sent progress.
//
// It records wishes and reads results. It pulls, analyzes and correlates nothing itself.
//
// # Guarantees
//
// A submission that was answered with 202 is in Postgres, and will be resolved whatever dies thereafter. An
// Idempotency-Key makes a repeated request the same submission.
//
// # Format
//
// JSON, as /openapi.json says. Within version 1 of the paths, fields are only added. Errors are problem
// documents, RFC 9457. Times are RFC 3339 in UTC, sizes are bytes.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// Config says what the API works with.
type Config struct {
	// Version of the program, for people.
	Version string
	Store   *store.Store
	// Kafka gets the jobs. Without brokers, what is submitted waits for a coordinator to look for it.
	Kafka queue.Connection
	// Cluster tells the state of the cluster. Nil means that there is nothing to tell.
	Cluster func(context.Context) (Cluster, error)
	// AllowLocal permits submissions that name archives of this machine. A server on a network must
	// not read its own files on a client's word.
	AllowLocal bool
	// UploadDir is where uploaded archives are kept until they are analyzed. "" means that there are no uploads.
	UploadDir string
	// UploadAddress is where the other roles can reach this API to read uploaded archives: "host:port".
	UploadAddress string
	// MaxUploadBytes bounds one uploaded archive. Zero means 16 GiB.
	MaxUploadBytes int64
	// UploadIdle is how long the next 64 KiB of an upload may take to come. Zero means one minute.
	UploadIdle time.Duration
	// Limits bound what is read of archives.
	Limits limits.Limits
	// Logger gets what goes wrong. Nil means nobody does.
	Logger *slog.Logger
	// Metrics gets the metrics. Nil means nobody does.
	Metrics prometheus.Registerer
	// Tracing makes the spans. Nil means that nothing is traced.
	Tracing trace.TracerProvider
}

// API answers requests.
type API struct {
	config   Config
	log      *slog.Logger
	metrics  *metrics
	tracer   trace.Tracer
	producer *queue.Producer // nil without Kafka
	uploads  *uploads
	intake   intake
	stopping chan struct{} // closed when the API was told to stop
	stop     func()
}

// New checks the configuration. It connects nothing.
func New(config Config) (*API, error) {
	if config.MaxUploadBytes == 0 {
		config.MaxUploadBytes = 16 << 30
	}
	if config.UploadIdle == 0 {
		config.UploadIdle = time.Minute
	}
	if config.UploadDir != "" && config.UploadAddress == "" {
		return nil, fault.Newf(fault.Invalid, "configure", "api", "uploads are kept in %s, and no address tells where they can be read", config.UploadDir)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	var producer *queue.Producer
	if len(config.Kafka.Brokers) > 0 {
		var err error
		if producer, err = queue.NewProducer(queue.ProducerConfig{Connection: config.Kafka}); err != nil {
			return nil, err
		}
	}
	a := &API{
		config: config, log: config.Logger, metrics: newMetrics(config.Metrics), producer: producer,
		tracer:   tracing.Tracer(config.Tracing, "api"),
		uploads:  &uploads{dir: config.UploadDir, limits: config.Limits, opened: make(map[string]*oci.Archive)},
		stopping: make(chan struct{}),
	}
	a.stop = sync.OnceFunc(func() { close(a.stopping) })
	return a, nil
}

// Close gives up what is being sent and closes connections.
func (a *API) Close() {
	if a.producer != nil {
		a.producer.Close()
	}
}

// Run cleans up after finished uploads until ctx is done. The requests are served by whoever has the Handler; those
// that wait for a scan end when ctx does.
func (a *API) Run(ctx context.Context) error {
	defer a.stop()
	if a.config.UploadDir == "" {
		<-ctx.Done()
		return nil
	}
	return a.uploads.clean(ctx, a.config.Store, a.log)
}

// Handler returns all endpoints.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	register(humago.New(mux, openAPI(a.config.Version)), a)
	if a.config.UploadDir != "" {
		mux.Handle("/v2/", oci.Serve(a.uploads.find))
	}
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusFound))
	return a.traced(a.metrics.measure(mux))
}
