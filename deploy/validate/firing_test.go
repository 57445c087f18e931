package validate

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

// Series for an hour, a sample each minute, in the notation of promtool: "a+bxn" begins with a and grows by b, n times.
// In calm two coordinators, two workers and an updater do their work, and nothing is wrong.
const calm = `load 1m
	up{job="trawl", instance="c1"} 1x480
	trawl_build_info{job="trawl", instance="c1", version="1"} 1x480
	trawl_coordinator_leading{instance="c1"} 1x480
	trawl_coordinator_leading{instance="c2"} 0x480
	trawl_coordinator_workers{instance="c1"} 2x480
	trawl_coordinator_workers{instance="c2"} 0x480
	trawl_coordinator_shards_moved_total{instance="c1"} 256x480
	trawl_coordinator_workers_deaf_total{instance="c1"} 0x480
	trawl_coordinator_layers_sent_total{instance="c1", lane="now"} 0+600x480
	trawl_coordinator_jobs_swept_total{instance="c1"} 0+5x480
	trawl_coordinator_submissions_resolved_total{instance="c1", result="ok"} 0+100x480
	trawl_coordinator_submissions_resolved_total{instance="c1", result="not-found"} 0+50x480
	trawl_coordinator_dead_letters_total{instance="c1", kind="layer"} 0x480
	trawl_worker_dead_letters_total{instance="w1", kind="layer"} 0x480
	trawl_worker_shards{job="trawl", instance="w1"} 128x480
	trawl_worker_shards{job="trawl", instance="w2"} 128x480
	trawl_worker_layers_total{instance="w1", result="analyzed"} 0+600x480
	trawl_worker_layers_total{instance="w1", result="unavailable"} 0+6x480
	trawl_worker_commit_duration_seconds_bucket{instance="w1", le="0.1"} 0+100x480
	trawl_worker_commit_duration_seconds_bucket{instance="w1", le="5"} 0+101x480
	trawl_worker_commit_duration_seconds_bucket{instance="w1", le="+Inf"} 0+101x480
	process_resident_memory_bytes{job="trawl", instance="w1"} 100000000x480
	process_resident_memory_bytes{job="trawl", instance="c1"} 500000000x480
	trawl_updater_last_success_timestamp_seconds{instance="u1", source="debian"} 0+60x480
	trawl_updater_runs_total{instance="u1", source="debian", result="ok"} 0+1x480
	trawl_updater_runs_total{instance="u1", source="debian", result="failed"} 0+0.1x480
	trawl_updater_bad_records_total{instance="u1", source="debian"} 7x480
	trawl_api_requests_total{instance="a1", status="200"} 0+600x480
	trawl_api_requests_total{instance="a1", status="500"} 0+1x480
	trawl_api_request_duration_seconds_bucket{instance="a1", route="GET /api/v1/images/{digest}/report", le="0.1"} 0+1000x480
	trawl_api_request_duration_seconds_bucket{instance="a1", route="GET /api/v1/images/{digest}/report", le="+Inf"} 0+1001x480
`

// troubles are series in which an alert has to fire.
var troubles = map[string]string{
	"TrawlDown":          `up{job="trawl", instance="w1"} 0x480`,
	"TrawlNoLeader":      `trawl_coordinator_leading{instance="c1"} 0x480`,
	"TrawlTwoLeaders":    "trawl_coordinator_leading{instance=\"c1\"} 1x480\n\ttrawl_coordinator_leading{instance=\"c2\"} 1x480",
	"TrawlNoWorkers":     "trawl_coordinator_leading{instance=\"c1\"} 1x480\n\ttrawl_coordinator_workers{instance=\"c1\"} 0x480",
	"TrawlShardsUnowned": `trawl_worker_shards{job="trawl", instance="w1"} 128x480`,
	"TrawlShardsMoving":  `trawl_coordinator_shards_moved_total{instance="c1"} 0+128x480`,
	"TrawlWorkersDeaf":   "trawl_coordinator_workers_deaf_total{instance=\"c1\"} 0+0.2x480\n\ttrawl_coordinator_workers{instance=\"c1\"} 2x480",
	"TrawlVersionsMixed": "trawl_build_info{job=\"trawl\", version=\"1\"} 1x480\n\ttrawl_build_info{job=\"trawl\", version=\"2\"} 1x480",
	"TrawlStalled": "trawl_coordinator_layers_sent_total{lane=\"now\"} 0+10x480\n" +
		"\ttrawl_worker_layers_total{result=\"analyzed\"} 1000x480",
	"TrawlResending": "trawl_coordinator_jobs_swept_total 0+50x480\n" +
		"\ttrawl_coordinator_layers_sent_total{lane=\"bulk\"} 0+100x480",
	"TrawlLayersFailing": "trawl_worker_layers_total{result=\"analyzed\"} 0+80x480\n" +
		"\ttrawl_worker_layers_total{result=\"unavailable\"} 0+20x480",
	"TrawlResultsRefused": `trawl_worker_layers_total{result="lost"} 0+1x480`,
	"TrawlSubmissionsFailing": "trawl_coordinator_submissions_resolved_total{result=\"ok\"} 0+60x480\n" +
		"\ttrawl_coordinator_submissions_resolved_total{result=\"unavailable\"} 0+40x480",
	"TrawlRateLimited":  `trawl_worker_layers_total{result="rate-limited"} 0+2x480`,
	"TrawlDeadLetters":  `trawl_worker_dead_letters_total{kind="layer"} 0+1x480`,
	"TrawlCommitsSlow":  "trawl_worker_commit_duration_seconds_bucket{le=\"1\"} 0+10x480\n\ttrawl_worker_commit_duration_seconds_bucket{le=\"5\"} 0+100x480\n\ttrawl_worker_commit_duration_seconds_bucket{le=\"+Inf\"} 0+100x480",
	"TrawlWorkerMemory": "process_resident_memory_bytes{job=\"trawl\", instance=\"w1\"} 250000000x480\n\ttrawl_worker_shards{job=\"trawl\", instance=\"w1\"} 256x480",
	// It was read two days before the epoch.
	"TrawlSourceStale":   `trawl_updater_last_success_timestamp_seconds{source="debian"} -172800x480`,
	"TrawlSourceFailing": `trawl_updater_runs_total{source="debian", result="failed"} 0+0.05x480`,
	"TrawlBadRecords":    `trawl_updater_bad_records_total{source="debian"} 0+10x480`,
	"TrawlErrors":        "trawl_api_requests_total{status=\"200\"} 0+90x480\n\ttrawl_api_requests_total{status=\"503\"} 0+10x480",
	"TrawlReportsSlow":   "trawl_api_request_duration_seconds_bucket{route=\"GET /api/v1/images/{digest}/report\", le=\"0.25\"} 0+90x480\n\ttrawl_api_request_duration_seconds_bucket{route=\"GET /api/v1/images/{digest}/report\", le=\"1\"} 0+100x480\n\ttrawl_api_request_duration_seconds_bucket{route=\"GET /api/v1/images/{digest}/report\", le=\"+Inf\"} 0+100x480",
}

// TestFiring holds that each alert fires in trouble and is silent in calm.
func TestFiring(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	var alerts []string
	quiet := promqltest.LoadedStorage(t, calm)
	at := time.Unix(0, 0).Add(8 * time.Hour)
	for _, rule := range rules(t) {
		alerts = append(alerts, rule.Alert)
		count := func(series storage.Queryable, what string) int {
			query, err := engine.NewInstantQuery(t.Context(), series, nil, rule.Expr, at)
			if err != nil {
				t.Fatalf("%s: %v", rule.Alert, err)
			}
			defer query.Close()
			vector, err := query.Exec(t.Context()).Vector()
			if err != nil {
				t.Fatalf("%s, %s: %v", rule.Alert, what, err)
			}
			return len(vector)
		}
		if count(quiet, "calm") > 0 {
			t.Errorf("%s fires in calm", rule.Alert)
		}
		trouble, ok := troubles[rule.Alert]
		if !ok {
			t.Errorf("nothing is known in which %s has to fire", rule.Alert)
			continue
		}
		if count(promqltest.LoadedStorage(t, "load 1m\n\t"+trouble+"\n"), "trouble") == 0 {
			t.Errorf("%s does not fire", rule.Alert)
		}
	}
	for name := range troubles {
		if !slices.Contains(alerts, name) {
			t.Errorf("there is no alert %s", name)
		}
	}
}
