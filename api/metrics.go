package api

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	inFlight    prometheus.Gauge
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	submissions *prometheus.CounterVec
	uploaded    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "trawl_api_requests_in_flight",
			Help: "Requests being answered, those that wait for a scan included.",
		}),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_api_requests_total",
			Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "trawl_api_request_duration_seconds",
			Help: "How long requests took, by route. Requests that wait for a scan are long by design.",
			// Up to 20 ms is what a report may take; beyond a second somebody waits.
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5, 30},
		}, []string{"route"}),
		submissions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_api_submissions_total",
			Help: "Submissions recorded, by lane.",
		}, []string{"lane"}),
		uploaded: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_api_uploaded_bytes_total",
			Help: "Size of uploaded archives.",
		}),
	}
}

// measure counts requests. The route is the pattern that matched, and the method one that is known: labels must not grow
// with what strangers ask for.
func (m *metrics) measure(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		m.inFlight.Inc()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		handler, route := mux.Handler(r)
		defer func() { // also where the connection is cut on purpose, by a panic
			m.inFlight.Dec()
			m.requests.WithLabelValues(cmp.Or(route, "none"), method(r.Method), strconv.Itoa(recorder.status)).Inc()
			m.duration.WithLabelValues(cmp.Or(route, "none")).Observe(time.Since(started).Seconds())
		}()
		if route == "" {
			unknown(recorder, r, handler)
			return
		}
		mux.ServeHTTP(recorder, r)
	})
}

// method returns the label of a method.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return name
	}
	return "other"
}

// statusRecorder remembers the status.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap gives [http.ResponseController] the way to the connection.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
