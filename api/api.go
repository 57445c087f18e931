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
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/report"
	"github.com/trawl-scanner/trawl/pkg/store"
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
}

// API answers requests.
type API struct {
	config   Config
	log      *slog.Logger
	metrics  *metrics
	producer *queue.Producer // nil without Kafka
	uploads  *uploads
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
	defer context.AfterFunc(ctx, a.stop)()
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
	return a.metrics.measure(mux)
}

// Description returns the OpenAPI document that /openapi.json answers, for a version of the program.
func Description(version string) *huma.OpenAPI {
	h := humago.New(http.NewServeMux(), openAPI(version))
	register(h, &API{})
	return h.OpenAPI()
}

// openAPI returns the head of the description.
func openAPI(version string) huma.Config {
	config := huma.DefaultConfig("Trawl", version)
	config.Info.Description = "Finds known vulnerabilities in container images."
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	// Answers get more fields in time, and who reads them has to expect that. Requests say that they take no others.
	config.AllowAdditionalPropertiesByDefault = true
	config.CreateHooks = nil // no "$schema" in each answer: a report is the same wherever it comes from
	config.Transformers = append(config.Transformers, withType)
	config.Tags = []*huma.Tag{
		{Name: "submissions", Description: "Have images scanned."},
		{Name: "images", Description: "What is known of images."},
		{Name: "feeds", Description: "Sources of advisories."},
		{Name: "cluster", Description: "The service itself."},
	}
	return config
}

// schemaName names a type in the description. The parts of a report share names with other things: Image, Layer,
// Source.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[report.Report]().PkgPath() && t.Name() != "Report" {
		return "Report" + name
	}
	return name
}

// pendingReport describes the answer of an image that has no result yet.
func pendingReport(h huma.API) *huma.Response {
	schema := h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[report.Report](), true, "Report")
	return &huma.Response{
		Description: "There is no result yet; ask again.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: schema}},
		Headers:     map[string]*huma.Param{"Retry-After": {Schema: &huma.Schema{Type: huma.TypeString}, Description: "Seconds"}},
	}
}

// register lists every operation. The description is made of this list and of the types of its handlers.
func register(h huma.API, a *API) {
	huma.Register(h, huma.Operation{
		OperationID: "submit", Method: http.MethodPost, Path: "/api/v1/submissions", Tags: []string{"submissions"},
		Summary: "Have a reference scanned", DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, a.submit)
	huma.Register(h, huma.Operation{
		OperationID: "upload", Method: http.MethodPost, Path: "/api/v1/archives", Tags: []string{"submissions"},
		Summary: "Have an archive scanned", DefaultStatus: http.StatusAccepted,
		Description: "The body is the archive: of docker save, an OCI layout as tar, an ACI, or a tar of a root file system, compressed or not.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}},
		Errors: []int{http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity},
	}, a.upload)
	huma.Register(h, huma.Operation{
		OperationID: "submission", Method: http.MethodGet, Path: "/api/v1/submissions/{id}", Tags: []string{"submissions"},
		Summary: "How far a submission is", Errors: []int{http.StatusNotFound},
	}, a.submission)
	registerEvents(h, a)
	huma.Register(h, huma.Operation{
		OperationID: "images", Method: http.MethodGet, Path: "/api/v1/images", Tags: []string{"images"},
		Summary: "The images that a reference points at", Errors: []int{http.StatusNotFound},
	}, a.images)
	huma.Register(h, huma.Operation{
		OperationID: "image", Method: http.MethodGet, Path: "/api/v1/images/{digest}", Tags: []string{"images"},
		Summary: "How far an image is", Errors: []int{http.StatusNotFound},
	}, a.image)
	huma.Register(h, huma.Operation{
		OperationID: "report", Method: http.MethodGet, Path: "/api/v1/images/{digest}/report", Tags: []string{"images"},
		Summary:     "The report of an image, correlated as of now",
		Description: "202 means that there is no result yet.",
		Responses:   map[string]*huma.Response{"202": pendingReport(h)},
		Errors:      []int{http.StatusNotFound},
	}, a.report)
	huma.Register(h, huma.Operation{
		OperationID: "layers", Method: http.MethodGet, Path: "/api/v1/images/{digest}/layers", Tags: []string{"images"},
		Summary: "The layers of an image, base first", Errors: []int{http.StatusNotFound},
	}, a.layers)
	huma.Register(h, huma.Operation{
		OperationID: "feeds", Method: http.MethodGet, Path: "/api/v1/feeds", Tags: []string{"feeds"},
		Summary: "The sources of advisories and how old their data is",
	}, a.feeds)
	huma.Register(h, huma.Operation{
		OperationID: "update-feeds", Method: http.MethodPost, Path: "/api/v1/feeds/update", Tags: []string{"feeds"},
		Summary: "Ask for sources to be read now", DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusNotFound},
	}, a.updateFeeds)
	huma.Register(h, huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/api/v1/status", Tags: []string{"cluster"},
		Summary: "Leader, members, shards and backlog",
	}, a.status)
}
