package introspect

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code, w.Body.String()
}

func TestReadiness(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "trawl_test_total", Help: "Test."}, func() float64 { return 3 }))
	s := New(registry)
	if code, _ := get(t, s.Handler(), "/readyz"); code != http.StatusOK {
		t.Errorf("no checks: %d", code)
	}
	s.Add("database", func(context.Context) error { return nil })
	s.Add("queue", func(context.Context) error { return errors.New("no broker answers") })
	code, body := get(t, s.Handler(), "/readyz")
	var got Readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if code != http.StatusServiceUnavailable || got.Ready || got.Checks["database"] != "ok" || got.Checks["queue"] != "no broker answers" {
		t.Errorf("%d %+v", code, got)
	}
	if code, _ := get(t, s.Handler(), "/livez"); code != http.StatusOK {
		t.Errorf("alive although not ready: %d", code)
	}
	if _, body := get(t, s.Handler(), "/metrics"); !strings.Contains(body, "trawl_test_total 3") {
		t.Errorf("metrics: %s", body)
	}
}

func TestServeFinishesRequests(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	entered := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-ctx.Done()
			_, _ = io.WriteString(w, "finished")
		}), time.Minute)
	}()
	go func() {
		<-entered
		stop()
	}()
	response, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "finished" {
		t.Errorf("%q, %v", body, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
