package updater

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	runs     *prometheus.CounterVec
	duration *prometheus.HistogramVec
	success  *prometheus.GaugeVec
	ranges   *prometheus.CounterVec
	findings *prometheus.CounterVec
	bad      *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		runs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_updater_runs_total",
			Help: "Runs of a source, by result: ok or failed.",
		}, []string{"source", "result"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "trawl_updater_run_duration_seconds",
			Help: "How long a run of a source took.",
			// From an unchanged document, one request, to a first reading of the largest source.
			Buckets: []float64{0.1, 0.5, 1, 5, 15, 60, 300, 1800},
		}, []string{"source"}),
		success: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "trawl_updater_last_success_timestamp_seconds",
			Help: "When the last run of a source that did not fail ended, in seconds since the epoch.",
		}, []string{"source"}),
		ranges: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_updater_ranges_total",
			Help: "Affected ranges that runs of a source changed, by change: added, removed or altered.",
		}, []string{"source", "change"}),
		findings: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_updater_findings_total",
			Help: "Findings that runs of a source made or withdrew, by change.",
		}, []string{"source", "change"}),
		bad: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_updater_bad_records_total",
			Help: "Records of a source that could not be used.",
		}, []string{"source"}),
	}
}

// ran counts the outcome of a run.
func (m *metrics) ran(o Outcome) {
	result := "ok"
	if o.Err != nil {
		result = "failed"
	} else {
		m.success.WithLabelValues(o.Source).SetToCurrentTime()
	}
	m.runs.WithLabelValues(o.Source, result).Inc()
	m.duration.WithLabelValues(o.Source).Observe(o.Duration.Seconds())
	m.ranges.WithLabelValues(o.Source, "added").Add(float64(o.Delta.Added))
	m.ranges.WithLabelValues(o.Source, "removed").Add(float64(o.Delta.Removed))
	m.ranges.WithLabelValues(o.Source, "altered").Add(float64(o.Delta.Changed))
	m.findings.WithLabelValues(o.Source, "added").Add(float64(o.Delta.Findings))
	m.findings.WithLabelValues(o.Source, "withdrawn").Add(float64(o.Delta.Withdrawn))
	m.bad.WithLabelValues(o.Source).Add(float64(o.Delta.Bad))
}
