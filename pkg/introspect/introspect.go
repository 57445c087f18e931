// Package introspect provides what operators and orchestrators ask a process: whether it lives, whether it
// is ready and if not why, its metrics and its profiles, on a port of their own.
//
// # Endpoints
//
//	/livez            200 as long as the process answers
//	/readyz           200 when every check passes, else 503; the body says which does not, and why
//	/healthz          the same as /readyz
//	/metrics          Prometheus text format
//	/debug/pprof/     profiles, see net/http/pprof
//
// The answers of the first three are JSON. The port is for operators: it is not to be exposed to users.
package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// A Check returns nil when a part of the process is ready, else why it is not. It is called by several
// goroutines at once, and has to answer before ctx is done.
type Check func(ctx context.Context) error

// checkTimeout is how long a check may take before it counts as failed.
const checkTimeout = 3 * time.Second

// Server answers.
type Server struct {
	gatherer prometheus.Gatherer

	mu     sync.Mutex
	checks map[string]Check
}

// New returns a Server of these metrics. Until a check is added it is ready.
func New(gatherer prometheus.Gatherer) *Server {
	return &Server{gatherer: gatherer, checks: make(map[string]Check)}
}

// Add adds a check under a name, or replaces the one of that name.
func (s *Server) Add(name string, check Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks[name] = check
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"` // "ok", or why not
}

// Ready runs all checks at once.
func (s *Server) Ready(ctx context.Context) Readiness {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s.mu.Lock()
	checks := make(map[string]Check, len(s.checks))
	for name, check := range s.checks {
		checks[name] = check
	}
	s.mu.Unlock()
	out := Readiness{Ready: true, Checks: make(map[string]string)}
	var mu sync.Mutex
	var all sync.WaitGroup
	for name, check := range checks {
		all.Go(func() {
			answer := "ok"
			err := check(ctx)
			if err != nil {
				answer = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			out.Checks[name] = answer
			out.Ready = out.Ready && err == nil
		})
	}
	all.Wait()
	return out
}

// Handler returns the endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	ready := func(w http.ResponseWriter, r *http.Request) {
		readiness := s.Ready(r.Context())
		status := http.StatusOK
		if !readiness.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, readiness)
	}
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /healthz", ready)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the peer is gone; there is nobody to tell
}

// Serve answers on the listener until ctx is done, then lets requests under way finish for up to grace, and
// returns nil. It is for any handler of this process.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := server.Shutdown(late)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	err := server.Serve(listener)
	if stop() { // it ended by itself
		return fault.New(fault.Unavailable, "serve", listener.Addr().String(), err)
	}
	return <-stopped
}
