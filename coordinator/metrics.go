package coordinator

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	leading     prometheus.Gauge
	resolved    *prometheus.CounterVec
	layersSent  *prometheus.CounterVec
	layersKnown prometheus.Counter
	swept       prometheus.Counter
	dead        *prometheus.CounterVec
	collected   prometheus.Counter
	watched     *prometheus.CounterVec
	shardsMoved prometheus.Counter
	workers     prometheus.Gauge
	deaf        prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		leading: f.NewGauge(prometheus.GaugeOpts{
			Name: "trawl_coordinator_leading",
			Help: "Whether this process leads: 1 or 0.",
		}),
		resolved: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_coordinator_submissions_resolved_total",
			Help: "Attempts to resolve a submission, by result: ok or the kind of the fault.",
		}, []string{"result"}),
		layersSent: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_coordinator_layers_sent_total",
			Help: "Layer jobs sent to shards, by lane.",
		}, []string{"lane"}),
		layersKnown: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_coordinator_layers_known_total",
			Help: "References to layers that asked for no work, because the layer is known or on its way.",
		}),
		swept: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_coordinator_jobs_swept_total",
			Help: "Jobs sent by the sweep: parked ones that became due, and ones that were lost.",
		}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_coordinator_dead_letters_total",
			Help: "Jobs given up, by kind.",
		}, []string{"kind"}),
		collected: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_coordinator_rows_collected_total",
			Help: "Rows removed from the database because nobody needs them.",
		}),
		watched: f.NewCounterVec(prometheus.CounterOpts{
			Name: "trawl_coordinator_watches_total",
			Help: "Looks at references under watch, by result: same, moved or failed.",
		}, []string{"result"}),
		shardsMoved: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_coordinator_shards_moved_total",
			Help: "Shards given to another worker.",
		}),
		workers: f.NewGauge(prometheus.GaugeOpts{
			Name: "trawl_coordinator_workers",
			Help: "Workers that shards are assigned to.",
		}),
		deaf: f.NewCounter(prometheus.CounterOpts{
			Name: "trawl_coordinator_workers_deaf_total",
			Help: "Times that a worker did not take its shards, and they were given to others.",
		}),
	}
}
