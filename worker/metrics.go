package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
)

type metrics struct {
	shards     prometheus.Gauge
	layers     *prometheus.CounterVec
	duration   prometheus.Histogram
	compressed prometheus.Counter
	inflated   prometheus.Counter
	entries    prometheus.Counter
	images     *prometheus.CounterVec
	releases   prometheus.Counter
	findings   prometheus.Counter
	commits    prometheus.Histogram
	dead       *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		shards: f.NewGauge(prometheus.GaugeOpts{
			Name: "trawl_worker_shards",
			Help: "Shards that this worker owns.",
		}),
		layers: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_worker_layers_total",
			Help: "Jobs for layers, by result: analyzed, known (there was a result already), lost (the database refused the result), or the kind of the fault.",
		}, []string{"result"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name: "trawl_worker_layer_duration_seconds",
			Help: "How long the analysis of a layer took, its download included.",
			// Half of all layers are under 4 MB; the largest take minutes.
			Buckets: []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800},
		}),
		compressed: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_worker_layer_compressed_bytes_total",
			Help: "Bytes of layers read as transferred.",
		}),
		inflated: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_worker_layer_inflated_bytes_total",
			Help: "Bytes of layers after inflation.",
		}),
		entries: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_worker_layer_entries_total",
			Help: "Files, directories and links seen in layers.",
		}),
		images: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_worker_images_total",
			Help: "Images completed, by result: complete or incomplete.",
		}, []string{"result"}),
		releases: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_worker_releases_total",
			Help: "Releases that had not been seen before.",
		}),
		findings: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_worker_findings_total",
			Help: "Findings that new releases made.",
		}),
		commits: f.NewHistogram(prometheus.HistogramOpts{
			Name: "trawl_worker_commit_duration_seconds",
			Help: "How long the transaction took that stores a batch of results.",
			// A batch ought to take some milliseconds; from a second on the database is what is slow.
			Buckets: []float64{0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5},
		}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_worker_dead_letters_total",
			Help: "Jobs given up, by kind.",
		}, []string{"kind"}),
	}
}

func (m *metrics) analyzed(s extract.Stats, took time.Duration, err error) {
	name := "analyzed"
	if err != nil {
		name = fault.KindOf(err).String()
	}
	m.layers.WithLabelValues(name).Inc()
	m.duration.Observe(took.Seconds())
	m.compressed.Add(float64(s.CompressedBytes))
	m.inflated.Add(float64(s.InflatedBytes))
	m.entries.Add(float64(s.Entries))
}

func (m *metrics) committed(c store.Committed, took time.Duration) {
	for _, image := range c.Images {
		name := "complete"
		if image.State != store.ImageComplete {
			name = "incomplete"
		}
		m.images.WithLabelValues(name).Inc()
	}
	m.releases.Add(float64(c.Releases))
	m.findings.Add(float64(c.Findings))
	m.commits.Observe(took.Seconds())
}
