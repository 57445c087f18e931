package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// TestRefusals holds that what is wrong with a request is answered by a problem document that says so.
func TestRefusals(t *testing.T) {
	s := start(t, options{idle: true})
	const submissions = "/api/v1/submissions"
	long := strings.Repeat("a", 5000)
	for _, c := range []struct {
		name, method, path string
		body               any
		status             int
		kind               string
	}{
		{"no body", http.MethodPost, submissions, nil, 400, "invalid"},
		{"not JSON", http.MethodPost, submissions, "{", 400, "invalid"},
		{"no target", http.MethodPost, submissions, "{}", 422, "invalid"},
		{"an empty target", http.MethodPost, submissions, api.NewSubmission{}, 422, "invalid"},
		{"a target that is none", http.MethodPost, submissions, api.NewSubmission{Target: "UPPER case"}, 422, "invalid"},
		{"a target that is too long", http.MethodPost, submissions, api.NewSubmission{Target: long}, 422, "invalid"},
		{"a target with a control character", http.MethodPost, submissions, api.NewSubmission{Target: "app\x00:1"}, 422, "invalid"},
		{"a target of another type", http.MethodPost, submissions, `{"target":7}`, 422, "invalid"},
		{"a field that is not known", http.MethodPost, submissions, `{"target":"a","priority":9}`, 422, "invalid"},
		{"a lane that is none", http.MethodPost, submissions, api.NewSubmission{Target: "a", Lane: "slow"}, 422, "invalid"},
		{"a platform that is none", http.MethodPost, submissions, api.NewSubmission{Target: "a", Platforms: []string{"a,b"}}, 422, "invalid"},
		{"platforms without end", http.MethodPost, submissions, api.NewSubmission{Target: "a", Platforms: make([]string, 65)}, 422, "invalid"},
		{"a huge body", http.MethodPost, submissions, `{"target":"` + strings.Repeat("a", 2<<20) + `"}`, 413, "too-large"},
		{"an id that is none", http.MethodGet, submissions + "/1", nil, 422, "invalid"},
		{"events of an id that is none", http.MethodGet, submissions + "/1/events", nil, 422, "invalid"},
		{"a digest that is none", http.MethodGet, "/api/v1/images/sha256:1", nil, 422, "invalid"},
		{"a report of a digest that is none", http.MethodGet, "/api/v1/images/x/report", nil, 422, "invalid"},
		{"no reference", http.MethodGet, "/api/v1/images", nil, 422, "invalid"},
		{"a reference that is none", http.MethodGet, "/api/v1/images?reference=A%20B", nil, 422, "invalid"},
		{"a source that is none", http.MethodPost, "/api/v1/feeds/update", `{"sources":["nobody"]}`, 404, "not-found"},
		{"a platform of an upload", http.MethodPost, "/api/v1/archives?platforms=a%20b", strings.NewReader("x"), 422, "invalid"},
		{"a path that is not there", http.MethodGet, "/api/v1/nothing", nil, 404, "not-found"},
		{"a method that is not there", http.MethodDelete, submissions, nil, 405, "unsupported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.do(c.method, c.path, c.body).problem(t, c.status, "/problems/"+c.kind)
		})
	}
	t.Run("the body is of another type", func(t *testing.T) {
		a := s.do(http.MethodPost, submissions, "target: a", "Content-Type", "application/yaml")
		a.problem(t, http.StatusUnsupportedMediaType, "/problems/unsupported")
	})
	t.Run("a method that is not there says which are", func(t *testing.T) {
		if allow := s.do(http.MethodDelete, submissions, nil).header.Get("Allow"); !strings.Contains(allow, http.MethodPost) {
			t.Errorf("Allow: %q", allow)
		}
	})
	t.Run("nothing of it was recorded", func(t *testing.T) {
		var status api.Status
		s.do(http.MethodGet, "/api/v1/status", nil).read(t, &status)
		if status.Backlog.SubmissionsQueued != 0 || len(s.kept()) != 0 {
			t.Errorf("%+v, files %v", status.Backlog, s.kept())
		}
	})
}

// TestLocalTargets holds that a server reads no file because a client names it.
func TestLocalTargets(t *testing.T) {
	s := start(t, options{idle: true})
	for _, target := range []string{
		"docker-archive:/etc/passwd", "oci-archive:/etc/passwd", "oci-dir:/etc", "aci:/etc/passwd", "rootfs:/etc/passwd", "rootfs:../../etc/passwd",
	} {
		p := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: target}).problem(t, http.StatusUnprocessableEntity, "/problems/invalid")
		if !strings.Contains(p.Detail, "/api/v1/archives") {
			t.Errorf("%s: the detail does not say what to do instead: %s", target, p.Detail)
		}
	}
}

// TestFeeds asks for updates.
func TestFeeds(t *testing.T) {
	s := start(t, options{idle: true})
	if err := s.Store.RegisterSources(t.Context(), []advisory.Source{{Name: "alpine"}, {Name: "debian"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body any
		want int
	}{{nil, 2}, {"{}", 2}, {`{"sources":null}`, 2}, {`{"sources":[]}`, 2}, {`{"sources":["debian"]}`, 1}} {
		a := s.do(http.MethodPost, "/api/v1/feeds/update", c.body)
		var got struct{ Requested []string }
		a.read(t, &got)
		if a.status != http.StatusAccepted || len(got.Requested) != c.want {
			t.Errorf("%v: %d %s, want %d sources", c.body, a.status, a.body, c.want)
		}
	}
	if names, err := s.client.UpdateFeeds(t.Context(), nil); err != nil || len(names) != 2 {
		t.Errorf("client: %v, %v", names, err)
	}
	var feeds []api.Source
	s.do(http.MethodGet, "/api/v1/feeds", nil).read(t, &feeds)
	if len(feeds) != 2 || feeds[0].State != "new" || feeds[0].Updated != nil {
		t.Errorf("%+v", feeds)
	}
}

// TestOutages holds that the API says when a server behind it is away, and accepts what it can.
func TestOutages(t *testing.T) {
	s := start(t, options{idle: true})
	id := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: "registry.example/app:1"}).submission(t).ID

	t.Run("Kafka", func(t *testing.T) {
		s.node.Cables.Kafka.Cut()
		defer s.node.Cables.Kafka.Mend()
		began := time.Now()
		a := s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: "registry.example/app:2"})
		if sub := a.submission(t); a.status != http.StatusAccepted || sub.State != api.StateQueued {
			t.Errorf("%d %s", a.status, a.body)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		unsent, _, err := s.Store.UnsentSubmissions(t.Context(), time.Hour, 10)
		if err != nil || len(unsent) != 1 {
			t.Errorf("left to the coordinator: %v, %v", unsent, err)
		}
	})
	t.Run("Postgres", func(t *testing.T) {
		s.node.Cables.Postgres.Cut()
		began := time.Now()
		for _, a := range []answer{
			s.do(http.MethodGet, "/api/v1/submissions/"+id, nil),
			s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: "registry.example/app:3"}),
			s.do(http.MethodGet, "/api/v1/feeds", nil),
			s.upload(strings.NewReader(string(rootFS("zlib1g 1"))), ""),
		} {
			p := a.problem(t, http.StatusServiceUnavailable, "/problems/unavailable")
			if a.header.Get("Retry-After") == "" || strings.Contains(p.Detail, "127.0.0.1") {
				t.Errorf("Retry-After %q, detail %s", a.header.Get("Retry-After"), p.Detail)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if kept := s.kept(); len(kept) != 0 {
			t.Errorf("an upload that was refused is kept: %v", kept)
		}
		s.node.Cables.Postgres.Mend()
		if sub := s.do(http.MethodGet, "/api/v1/submissions/"+id, nil).submission(t); sub.ID != id {
			t.Errorf("afterwards: %+v", sub)
		}
	})
}

// TestMetrics holds that what strangers ask for makes no label.
func TestMetrics(t *testing.T) {
	s := start(t, options{idle: true})
	for _, method := range []string{"PROPFIND", "XYZZY", http.MethodGet, http.MethodPut} {
		for _, path := range []string{"/a", "/b", "/api/v1/feeds", "/api/v1/images/" + unknownDigest} {
			s.do(method, path, nil)
		}
	}
	if n, err := testutil.GatherAndCount(s.metrics, "trawl_api_requests_total"); err != nil || n != 7 {
		t.Errorf("%d series, %v; want feeds and image by GET, what is not there by GET, PUT and others, and what is by PUT and others", n, err)
	}
	if problems, err := testutil.GatherAndLint(s.metrics); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
