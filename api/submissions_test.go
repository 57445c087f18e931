package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// TestLifeOfASubmission follows one image through every operation of the API.
func TestLifeOfASubmission(t *testing.T) {
	s := start(t, options{})
	reference := s.registry.Push(t, "app", "1", clustertest.Debian("zlib1g 1:1.2.13", "perl 5.36"), clustertest.Layer())

	t.Run("what was never submitted", func(t *testing.T) {
		for _, path := range []string{
			"/api/v1/submissions/00000000-0000-7000-8000-000000000000",
			"/api/v1/submissions/00000000-0000-7000-8000-000000000000/events",
			"/api/v1/images?reference=" + reference,
			"/api/v1/images/" + unknownDigest,
			"/api/v1/images/" + unknownDigest + "/report",
			"/api/v1/images/" + unknownDigest + "/layers",
		} {
			t.Run(path, func(t *testing.T) {
				s.do(http.MethodGet, path, nil).problem(t, http.StatusNotFound, "/problems/not-found")
			})
		}
	})

	accepted := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: reference})
	submission := accepted.submission(t)
	if accepted.status != http.StatusAccepted || accepted.header.Get("Location") != "/api/v1/submissions/"+submission.ID {
		t.Errorf("submitted: %d, at %q", accepted.status, accepted.header.Get("Location"))
	}
	if submission.Lane != "now" || submission.Title != reference || submission.State == "" {
		t.Errorf("submitted: %+v", submission)
	}
	done := s.await(submission.ID)
	if done.State != api.StateComplete || len(done.Images) != 1 || done.Images[0].Platform != "linux/amd64" || done.Images[0].Layers != 2 || done.Images[0].Pending != 0 {
		t.Fatalf("done: %+v", done)
	}
	image := done.Images[0].Digest.String()

	t.Run("images of the reference", func(t *testing.T) {
		var list api.ImageList
		s.do(http.MethodGet, "/api/v1/images?reference="+reference, nil).read(t, &list)
		if list.Reference != reference || list.Digest != image || cmp.Diff(done.Images, list.Images) != "" {
			t.Errorf("%+v", list)
		}
	})
	t.Run("image", func(t *testing.T) {
		var got api.Image
		s.do(http.MethodGet, "/api/v1/images/"+image, nil).read(t, &got)
		if diff := cmp.Diff(done.Images[0], got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("report", func(t *testing.T) {
		a := s.do(http.MethodGet, "/api/v1/images/"+image+"/report?reference=as+asked", nil)
		var r report.Report
		a.read(t, &r)
		if a.status != http.StatusOK || r.State != report.Complete || len(r.Packages) != 2 || r.Image.Reference != "as asked" || r.Distribution.Namespace != "debian:12" {
			t.Errorf("%d %+v", a.status, r)
		}
	})
	t.Run("layers", func(t *testing.T) {
		var layers []report.Layer
		s.do(http.MethodGet, "/api/v1/images/"+image+"/layers", nil).read(t, &layers)
		if len(layers) != 2 || layers[0].State != "analyzed" || layers[0].Size == 0 {
			t.Errorf("%+v", layers)
		}
	})
	t.Run("status", func(t *testing.T) {
		var status api.Status
		s.do(http.MethodGet, "/api/v1/status", nil).read(t, &status)
		if status.Cluster.Leader != "all" || status.Backlog.ImagesPending != 0 || status.Backlog.LayersSent != 0 {
			t.Errorf("%+v", status)
		}
	})
	t.Run("again it costs no layer", func(t *testing.T) {
		before := s.registry.Requests("app/blobs/" + done.Images[0].Digest.String())
		if again := s.scan(reference); again.State != api.StateComplete || again.ID == done.ID {
			t.Errorf("%+v", again)
		}
		if after := s.registry.Requests("app/blobs/" + done.Images[0].Digest.String()); after != before {
			t.Errorf("%d requests for a known layer", after-before)
		}
	})
}

const unknownDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func TestIdempotencyKey(t *testing.T) {
	s := start(t, options{idle: true})
	submit := func(body api.NewSubmission, key string) answer {
		return s.do(http.MethodPost, "/api/v1/submissions", body, "Idempotency-Key", key)
	}
	first := submit(api.NewSubmission{Target: "registry.example/app:1"}, "build 4711").submission(t)
	again := submit(api.NewSubmission{Target: "registry.example/app:1"}, "build 4711").submission(t)
	other := submit(api.NewSubmission{Target: "registry.example/app:1"}, "build 4712").submission(t)
	if first.ID != again.ID || first.ID == other.ID {
		t.Errorf("one key %s and %s, another %s", first.ID, again.ID, other.ID)
	}
	for _, c := range []struct {
		name string
		body api.NewSubmission
	}{
		{"another target", api.NewSubmission{Target: "registry.example/app:2"}},
		{"other platforms", api.NewSubmission{Target: "registry.example/app:1", Platforms: []string{"linux/arm64"}}},
		{"another lane", api.NewSubmission{Target: "registry.example/app:1", Lane: "bulk"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := submit(c.body, "build 4711").problem(t, http.StatusUnprocessableEntity, "/problems/invalid")
			if !strings.Contains(p.Detail, "Idempotency-Key") {
				t.Errorf("detail: %s", p.Detail)
			}
		})
	}
}

func TestWait(t *testing.T) {
	s := start(t, options{idle: true})
	id := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: "registry.example/app:1"}).submission(t).ID
	for _, c := range []struct {
		query       string
		least, most time.Duration
	}{{"", 0, time.Second}, {"?wait=0", 0, time.Second}, {"?wait=1", 900 * time.Millisecond, 3 * time.Second}} {
		began := time.Now()
		got := s.do(http.MethodGet, "/api/v1/submissions/"+id+c.query, nil).submission(t)
		if took := time.Since(began); got.State != api.StateQueued || took < c.least || took > c.most {
			t.Errorf("%q: %s after %s", c.query, got.State, took)
		}
	}
	s.do(http.MethodGet, "/api/v1/submissions/"+id+"?wait=301", nil).problem(t, http.StatusUnprocessableEntity, "/problems/invalid")
}

// event is a server-sent event.
type event struct{ name, data string }

// events reads a stream of events to its end.
func (s *system) events(t *testing.T, path string) []event {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("content type %q", kind)
	}
	var out []event
	e := event{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			out, e = append(out, e), event{}
		}
	}
	return out
}

func TestEvents(t *testing.T) {
	s := start(t, options{})
	hold := make(chan struct{})
	s.registry.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") && strings.HasSuffix(r.Header.Get("User-Agent"), "trawl") {
			<-hold
		}
		return false
	})
	reference := s.registry.Push(t, "app", "1", clustertest.Debian("zlib1g 1"))
	id := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: reference}).submission(t).ID
	time.AfterFunc(300*time.Millisecond, func() { close(hold) })
	events := s.events(t, "/api/v1/submissions/"+id+"/events")
	var states []string
	for _, e := range events {
		var sub api.Submission
		if err := json.Unmarshal([]byte(e.data), &sub); err != nil || e.name != "submission" || sub.ID != id {
			t.Fatalf("event %+v: %v", e, err)
		}
		states = append(states, sub.State)
	}
	if len(states) < 2 || states[len(states)-1] != api.StateComplete || states[0] == api.StateComplete {
		t.Errorf("states %v, want some that end with complete", states)
	}
	t.Run("of one that is done", func(t *testing.T) {
		if events := s.events(t, "/api/v1/submissions/"+id+"/events"); len(events) != 1 {
			t.Errorf("%d events, want one", len(events))
		}
	})
}

// TestStop holds that requests which wait for a scan do not keep a server from stopping.
func TestStop(t *testing.T) {
	s := start(t, options{idle: true})
	id := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: "registry.example/app:1"}).submission(t).ID
	stop := clustertest.Go(t, s.api.Run)
	ended := make(chan string, 2)
	for _, path := range []string{"/events", "?wait=60"} {
		go func() {
			response, err := http.Get(s.url + "/api/v1/submissions/" + id + path)
			if err == nil {
				bufio.NewReader(response.Body).WriteTo(&strings.Builder{})
				response.Body.Close()
			}
			ended <- path
		}()
	}
	clustertest.Eventually(t, "two requests wait", func() bool { return s.inFlight() == 2 })
	stop()
	for range 2 {
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatal("a request goes on after the API was told to stop")
		}
	}
}

// inFlight returns how many requests are being answered.
func (s *system) inFlight() int {
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "trawl_api_requests_in_flight" {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	return -1
}

// TestPendingReport holds that a report which is asked for too early says so.
func TestPendingReport(t *testing.T) {
	s := start(t, options{backoff: time.Hour})
	s.registry.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/1") || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		if s.registry.Requests(strings.TrimPrefix(r.URL.Path, "/v2/")) > 1 || !isConfig(r.URL.Path, clustertest.NewManifest().Config.Digest) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	reference := s.registry.Push(t, "app", "1", clustertest.Debian("zlib1g 1"))
	id := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: reference}).submission(t).ID
	var sub api.Submission
	clustertest.Eventually(t, "the image is known", func() bool {
		sub = s.do(http.MethodGet, "/api/v1/submissions/"+id, nil).submission(t)
		return len(sub.Images) == 1
	})
	a := s.do(http.MethodGet, fmt.Sprintf("/api/v1/images/%s/report", sub.Images[0].Digest), nil)
	var r report.Report
	a.read(t, &r)
	if a.status != http.StatusAccepted || a.header.Get("Retry-After") == "" || r.State != report.Pending || r.Coverage.Status != report.NotYetRead {
		t.Errorf("%d, Retry-After %q: %s, %s", a.status, a.header.Get("Retry-After"), r.State, r.Coverage.Status)
	}
}

func isConfig(path, digest string) bool { return strings.HasSuffix(path, "/"+digest) }
