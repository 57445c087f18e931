package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/coordinator"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/worker"
)

// system is a whole service in this process: an API over HTTP, a coordinator and a worker, on real servers.
type system struct {
	*clustertest.Servers
	t        *testing.T
	node     *clustertest.Node
	api      *api.API
	url      string
	client   *client.Client
	registry *clustertest.Registry
	metrics  *prometheus.Registry
	uploads  string // directory
}

// options change a system before it starts.
type options struct {
	api      func(*api.Config)
	registry registry.Config
	limits   limits.Limits
	idle     bool // no coordinator and no worker: what is submitted stays as it is
	backoff  time.Duration
}

// start starts a service, which serves until the test ends.
func start(t *testing.T, o options) *system {
	t.Helper()
	s := &system{Servers: clustertest.Start(t), t: t, registry: clustertest.NewRegistry(t), metrics: prometheus.NewRegistry(), uploads: filepath.Join(t.TempDir(), "uploads")}
	s.node = s.Node(t, "all", 4, membership.RoleWorker)
	s.startAPI(o)
	clustertest.Go(t, s.api.Run)
	if o.idle {
		return s
	}
	clustertest.Go(t, s.node.Run)
	o.registry.Retries, o.registry.RetryDelay = -1, time.Millisecond
	reader, err := oci.New(oci.Config{Registry: o.registry, Limits: o.limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	backoff := func(int) time.Duration { return o.backoff }
	c, err := coordinator.New(coordinator.Config{
		ID: "all", Store: s.node.Store, OCI: reader, Etcd: s.node.Etcd, Kafka: s.node.Kafka, Members: s.node.Members,
		Extractor: extract.Version, Backoff: backoff, Metrics: s.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{
		ID: "all", Store: s.node.Store, OCI: reader, Etcd: s.node.Etcd, Kafka: s.node.Kafka,
		Limits: o.limits, Backoff: backoff, Metrics: s.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	clustertest.Go(t, w.Run)
	clustertest.Go(t, c.Run)
	return s
}

// startAPI starts the API alone.
func (s *system) startAPI(o options) {
	server := httptest.NewUnstartedServer(nil)
	config := api.Config{
		Version: "test", Store: s.node.Store, Kafka: s.node.Kafka,
		UploadDir: s.uploads, UploadAddress: server.Listener.Addr().String(), Limits: o.limits, Metrics: s.metrics,
		Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
		Cluster: func(context.Context) (api.Cluster, error) {
			return api.Cluster{Leader: "all", Members: []api.Member{{Name: "all", Roles: []string{"worker"}}}}, nil
		},
	}
	if o.api != nil {
		o.api(&config)
	}
	var err error
	if s.api, err = api.New(config); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.api.Close)
	server.Config.Handler = s.api.Handler()
	server.Start()
	s.t.Cleanup(server.Close)
	s.url = server.URL
	if s.client, err = client.New(s.url); err != nil {
		s.t.Fatal(err)
	}
}

// answer is an answer, read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes a request. body is nil, a reader, or sent as JSON.
func (s *system) do(method, path string, body any, header ...string) answer {
	s.t.Helper()
	var content io.Reader = http.NoBody
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
		contentType = ""
	case io.Reader:
		content, contentType = b, "application/octet-stream"
	case string:
		content = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		content = strings.NewReader(string(text))
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, content)
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{response.StatusCode, response.Header, text}
	checkContract(s.t, method, path, a)
	return a
}

// read reads the body of an answer.
func (a answer) read(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %d %.500s", err, a.status, a.body)
	}
}

// submission reads an answer that is one.
func (a answer) submission(t *testing.T) api.Submission {
	t.Helper()
	var out api.Submission
	a.read(t, &out)
	if out.ID == "" {
		t.Fatalf("no submission: %d %s", a.status, a.body)
	}
	return out
}

// problem is a problem document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// problem reads an answer that has to be a problem document of that status and type.
func (a answer) problem(t *testing.T, status int, kind string) problem {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d, %s: %.500s; want a problem of status %d", a.status, a.header.Get("Content-Type"), a.body, status)
	}
	var p problem
	a.read(t, &p)
	if p.Status != status || p.Type != kind || p.Title != http.StatusText(status) || p.Detail == "" {
		t.Errorf("problem %+v, want status %d and type %s", p, status, kind)
	}
	return p
}

// scan submits a reference and waits until it is done.
func (s *system) scan(reference string) api.Submission {
	s.t.Helper()
	return s.await(s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: reference}).submission(s.t).ID)
}

// await waits until a submission is done.
func (s *system) await(id string) api.Submission {
	s.t.Helper()
	done := s.do(http.MethodGet, "/api/v1/submissions/"+id+"?wait=180", nil).submission(s.t)
	if !done.Done() {
		s.t.Fatalf("not done after three minutes: %+v", done)
	}
	return done
}

// upload uploads an archive.
func (s *system) upload(content io.Reader, query string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, "/api/v1/archives"+query, content)
}

// kept returns what lies in the directory of uploads.
func (s *system) kept() []string {
	s.t.Helper()
	entries, err := os.ReadDir(s.uploads)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out
}
