package api_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// badImage is an image that cannot be read, or not all of it.
type badImage struct {
	name string
	// push pushes it as NAME:1 and returns its reference. Nil pushes a good one.
	push func(t *testing.T, r *clustertest.Registry, name string) string
	// fault is what the registry does when something of the image is asked for.
	fault func(w http.ResponseWriter, r *http.Request) bool

	state    string   // of the submission at the end
	kind     string   // of the fault
	says     []string // words of the reason
	attempts int      // that the dead letter counts; 0: there is none
	packages int      // that the report lists nevertheless
}

// scanBeside scans the bad images at once, with a good one before, between and after them, and holds that each comes
// to the end that it should and takes no other along.
func scanBeside(t *testing.T, s *system, images []badImage) {
	t.Helper()
	faults := make(map[string]func(http.ResponseWriter, *http.Request) bool)
	for i := range images {
		faults[repository(i)] = images[i].fault
	}
	s.registry.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
		fault := faults[name]
		return fault != nil && fault(w, r)
	})
	submit := func(reference string) string {
		return s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: reference}).submission(t).ID
	}
	var good, bad []string
	pushGood := func() {
		n := len(good)
		name := fmt.Sprint("good", n)
		good = append(good, submit(s.registry.Push(t, name, "1", clustertest.Debian(fmt.Sprint("zlib1g 1.", n)), unique())))
	}
	pushGood()
	for i, image := range images {
		push := image.push
		if push == nil {
			push = pushPlain
		}
		bad = append(bad, submit(push(t, s.registry, repository(i))))
		pushGood()
	}
	for _, id := range bad {
		s.await(id)
	}
	want := 0
	for _, image := range images {
		want += min(1, image.attempts)
	}
	var letters []job.DeadLetter
	clustertest.Eventually(t, "the dead letters are there", func() bool {
		letters = s.deadLetters()
		return len(letters) >= want
	})
	for i, image := range images {
		t.Run(image.name, func(t *testing.T) { image.check(t, s, bad[i], letters) })
	}
	for _, id := range good {
		if done := s.await(id); done.State != api.StateComplete {
			t.Errorf("a good image beside bad ones: %+v", done)
		}
	}
	s.checkNothingLeft(t)
}

func repository(i int) string { return fmt.Sprint("bad", i) }

// pushPlain pushes a good image.
func pushPlain(t *testing.T, r *clustertest.Registry, name string) string {
	return r.Push(t, name, "1", clustertest.Debian("zlib1g 1"), unique())
}

// unique returns a layer that no other image has.
func unique() []byte {
	return clustertest.Layer(clustertest.File{Name: "etc/unique", Content: rand.Text()})
}

func (c badImage) check(t *testing.T, s *system, id string, letters []job.DeadLetter) {
	done := s.await(id)
	if done.State != c.state {
		t.Fatalf("%s, want %s: %+v %+v", done.State, c.state, done, done.Problem)
	}
	subject, kind, reason := id, "", ""
	switch {
	case done.Problem != nil && done.State == api.StateFailed:
		kind, reason = done.Problem.Kind, done.Problem.Reason
	case len(done.Images) > 0:
		r, err := s.client.Report(t.Context(), done.Images[0].Digest, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Packages) != c.packages {
			t.Errorf("%d packages, want %d", len(r.Packages), c.packages)
		}
		if c.state == api.StateComplete {
			if r.State != report.Complete || len(r.Coverage.Failed) != 0 {
				t.Errorf("report: %s, failed %+v", r.State, r.Coverage.Failed)
			}
			return
		}
		if r.State != report.Incomplete || len(r.Coverage.Failed) != 1 || r.Coverage.Failed[0].Layer.IsZero() {
			t.Fatalf("report: %s, failed %+v; want one layer", r.State, r.Coverage.Failed)
		}
		failed := r.Coverage.Failed[0]
		subject, kind, reason = failed.Layer.String(), failed.Kind, failed.Reason
	}
	if kind != c.kind {
		t.Errorf("kind %s, want %s (%s)", kind, c.kind, reason)
	}
	for _, word := range c.says {
		if !strings.Contains(reason, word) {
			t.Errorf("the reason does not say %q: %s", word, reason)
		}
	}
	letters = slices.DeleteFunc(slices.Clone(letters), func(l job.DeadLetter) bool { return l.Subject != subject })
	if c.attempts == 0 {
		if len(letters) != 0 {
			t.Errorf("dead letters %+v", letters)
		}
		return
	}
	if len(letters) == 0 || letters[0].Attempts != c.attempts || letters[0].FaultKind != c.kind || letters[0].Reason != reason {
		t.Errorf("dead letters %+v, want one after %d attempts", letters, c.attempts)
	}
}

// deadLetters returns the dead letters that there are.
func (s *system) deadLetters() (letters []job.DeadLetter) {
	s.t.Helper()
	for _, value := range s.Records(s.t, queue.TopicDeadLetters) {
		letter, err := job.DecodeDeadLetter(value)
		if err != nil {
			s.t.Error(err)
		}
		letters = append(letters, letter)
	}
	return letters
}

// checkNothingLeft holds that nothing waits for anything any more.
func (s *system) checkNothingLeft(t *testing.T) {
	t.Helper()
	var status api.Status
	s.do(http.MethodGet, "/api/v1/status", nil).read(t, &status)
	b := status.Backlog
	if b.SubmissionsQueued+b.ImagesPending+b.LayersUnsent+b.LayersSent != 0 {
		t.Errorf("left over: %+v", b)
	}
}

// onBlobs answers requests for layers, and lets those for the configuration through.
func onBlobs(answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	config := clustertest.NewManifest().Config.Digest
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || strings.HasSuffix(r.URL.Path, config) {
			return false
		}
		answer(w, r)
		return true
	}
}

// onManifests answers requests for manifests.
func onManifests(answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		answer(w, r)
		return true
	}
}

// status answers with a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// only is onBlobs for one layer alone.
func only(layer []byte, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/blobs/"+digest.SHA256(layer).String()) {
			return false
		}
		answer(w, r)
		return true
	}
}

// TestMisbehavingRegistries holds what becomes of images whose registry does not do what it should.
func TestMisbehavingRegistries(t *testing.T) {
	s := start(t, options{
		backoff:  time.Millisecond,
		registry: registry.Config{HeaderTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond},
	})
	top := unique()
	withTop := func(t *testing.T, r *clustertest.Registry, name string) string {
		return r.Push(t, name, "1", clustertest.Debian("zlib1g 1"), top)
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	other := unique()
	scanBeside(t, s, []badImage{
		{
			name: "there is no such tag", push: func(_ *testing.T, r *clustertest.Registry, name string) string {
				return r.Host() + "/" + name + ":none"
			},
			state: api.StateFailed, kind: "not-found", says: []string{"bad0:none", "404"}, attempts: 1,
		},
		{name: "401", fault: onManifests(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}), state: api.StateFailed, kind: "unauthorized", says: []string{"docker login"}, attempts: 1},
		{name: "403", fault: onManifests(status(403)), state: api.StateFailed, kind: "unauthorized", says: []string{"403", "docker login"}, attempts: 1},
		{name: "500 for the manifest", fault: onManifests(status(500)), state: api.StateFailed, kind: "unavailable", says: []string{"500"}, attempts: 5},
		{name: "it hangs before the manifest", fault: onManifests(hang), state: api.StateFailed, kind: "unavailable", says: []string{"timeout"}, attempts: 5},
		{
			name: "a layer is missing", push: withTop, fault: only(top, status(404)), state: api.StateIncomplete, kind: "not-found",
			says: []string{"analyze", digest.SHA256(top).String(), "404"}, attempts: 1, packages: 1,
		},
		{name: "500 for a layer", push: pushOwn, fault: onBlobs(status(500)), state: api.StateIncomplete, kind: "unavailable", says: []string{"500"}, attempts: 5},
		{name: "401 for a layer", push: pushOwn, fault: onBlobs(status(401)), state: api.StateIncomplete, kind: "unauthorized", attempts: 1},
		{name: "it hangs before a layer", push: pushOwn, fault: onBlobs(hang), state: api.StateIncomplete, kind: "unavailable", attempts: 5},
		{
			name: "it hangs within a layer", push: pushOwn, fault: onBlobs(func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte{0x1f, 0x8b})
				_ = http.NewResponseController(w).Flush()
				hang(w, r)
			}), state: api.StateIncomplete, kind: "unavailable", says: []string{"stalled"}, attempts: 5,
		},
		{
			name: "a layer has other bytes", push: func(t *testing.T, r *clustertest.Registry, name string) string {
				mine := clustertest.Layer(clustertest.File{Name: "etc/unique", Content: rand.Text()})
				ref := r.Push(t, name, "1", mine)
				r.Put(name+"/blobs/"+digest.SHA256(mine).String(), other[:min(len(mine), len(other))])
				return ref
			}, state: api.StateIncomplete, kind: "corrupt", attempts: 3,
		},
		{
			name: "a manifest has other bytes", push: func(t *testing.T, r *clustertest.Registry, name string) string {
				r.Push(t, name, "1", unique())
				d := digest.SHA256([]byte("what was asked for"))
				r.Put(name+"/manifests/"+d.String(), []byte(`{"schemaVersion":2}`))
				return r.Host() + "/" + name + "@" + d.String()
			}, state: api.StateFailed, kind: "corrupt", attempts: 3,
		},
		{name: "a manifest that is a page", fault: onManifests(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>please log in"))
		}), state: api.StateFailed, kind: "corrupt", says: []string{"text/html"}, attempts: 1},
	})
}

// pushOwn pushes an image of one layer that no other image has.
func pushOwn(t *testing.T, r *clustertest.Registry, name string) string {
	return r.Push(t, name, "1", unique())
}

// TestHostileManifests holds that what a manifest makes up stops nothing but its own image, if that.
func TestHostileManifests(t *testing.T) {
	s := start(t, options{backoff: time.Millisecond})
	push := func(change func(*clustertest.Manifest)) func(*testing.T, *clustertest.Registry, string) string {
		return func(t *testing.T, r *clustertest.Registry, name string) string {
			base, mine := clustertest.Debian("zlib1g 1"), unique()
			m := clustertest.NewManifest(base, mine)
			change(&m)
			return r.PushManifest(t, name, "1", m, base, mine)
		}
	}
	scanBeside(t, s, []badImage{
		{
			name: "a platform with NUL", state: api.StateComplete, packages: 1,
			push: push(func(m *clustertest.Manifest) {
				*m = m.WithConfig([]byte(`{"os":"li\u0000nux","architecture":"amd64\ud800"}`))
			}),
		},
		{
			name: "a platform without end", state: api.StateComplete, packages: 1,
			push: push(func(m *clustertest.Manifest) {
				*m = m.WithConfig([]byte(`{"os":"linux","architecture":"` + strings.Repeat("x", 1<<20) + `"}`))
			}),
		},
		{
			name: "a media type without end", state: api.StateComplete, packages: 1,
			push: push(func(m *clustertest.Manifest) { m.Layers[1].MediaType = strings.Repeat("x", 100_000) }),
		},
		{
			name: "a media type with NUL", state: api.StateComplete, packages: 1,
			push: push(func(m *clustertest.Manifest) { m.Layers[1].MediaType = "a\x00b" }),
		},
		{
			name: "sizes beyond all bounds", state: api.StateIncomplete, kind: "corrupt", says: []string{"its manifest says 9223372036854775807"}, attempts: 3, packages: 1,
			push: push(func(m *clustertest.Manifest) { m.Layers[0].Size, m.Layers[1].Size = 0, math.MaxInt64 }),
		},
		{
			name: "a thousand layers too many", state: api.StateFailed, kind: "too-large", attempts: 1,
			push: push(func(m *clustertest.Manifest) {
				for range 2000 {
					m.Layers = append(m.Layers, m.Layers[1])
				}
			}),
		},
		{
			name: "one layer a hundred times", state: api.StateComplete, packages: 1,
			push: push(func(m *clustertest.Manifest) {
				for range 100 {
					m.Layers = append(m.Layers, m.Layers[1])
				}
			}),
		},
		{
			name: "an index of itself", state: api.StateFailed, kind: "corrupt", attempts: 3,
			push: func(t *testing.T, r *clustertest.Registry, name string) string {
				index := map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{
					map[string]any{"mediaType": clustertest.ManifestType, "digest": unknownDigest, "size": 2, "platform": map[string]string{"os": "a\x00", "architecture": "b"}},
				}}
				text, err := json.Marshal(index)
				if err != nil {
					t.Fatal(err)
				}
				r.Put(name+"/manifests/1", text)
				r.Put(name+"/manifests/"+unknownDigest, text)
				return r.Host() + "/" + name + ":1"
			},
		},
	})
}

// TestRateLimit holds that a job which is told to come back later is parked until then, does not fail however often it
// is told, and is not asked about meanwhile.
func TestRateLimit(t *testing.T) {
	s := start(t, options{backoff: time.Millisecond})
	const refusals = job.MaxAttempts + 1
	var mu sync.Mutex
	refused := make(map[string]int)
	limited := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if refused[r.URL.Path]++; refused[r.URL.Path] > refusals {
			s.registry.Answer(w, r)
			return
		}
		if refused[r.URL.Path] == 1 {
			w.Header().Set("Retry-After", "2")
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}
	manifests, blobs := onManifests(limited), onBlobs(limited)
	s.registry.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v2/first/") {
			return manifests(w, r)
		}
		return blobs(w, r)
	})
	began := time.Now()
	var ids []string
	for _, name := range []string{"first", "second"} {
		reference := s.registry.Push(t, name, "1", clustertest.Debian("zlib1g "+name))
		ids = append(ids, s.do(http.MethodPost, "/api/v1/submissions", api.NewSubmission{Target: reference}).submission(t).ID)
	}
	parked := 0
	clustertest.Eventually(t, "the scans are done", func() bool {
		all := true
		for _, id := range ids {
			sub := s.do(http.MethodGet, "/api/v1/submissions/"+id, nil).submission(t)
			if sub.State == api.StateParked {
				parked++
				if sub.NotBefore == nil || sub.Problem == nil || sub.Problem.Kind != "rate-limited" || sub.Attempts != 0 {
					t.Fatalf("parked: %+v %+v", sub, sub.Problem)
				}
			}
			if sub.Done() && sub.State != api.StateComplete {
				t.Fatalf("%+v", sub)
			}
			all = all && sub.Done()
		}
		return all
	})
	if took := time.Since(began); took < 2*time.Second || parked == 0 {
		t.Errorf("done after %s, seen parked %d times; want the two seconds that the registry asked for", took, parked)
	}
	if len(refused) != 2 {
		t.Errorf("asked for %v", refused)
	}
	for path, n := range refused {
		if n != refusals+1 {
			t.Errorf("%s: asked for %d times, want %d", path, n, refusals+1)
		}
	}
}
