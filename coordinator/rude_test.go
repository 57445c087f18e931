package coordinator_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/budget"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// rude is a registry that does everything that registries do when they are overloaded, or behind something that is. It
// wants tokens and lets them expire, and keeps count.
type rude struct {
	real *clustertest.Registry
	done chan struct{} // closed in the end

	mu      sync.Mutex
	random  *rand.Rand
	faults  map[string]int         // so far, by path
	kinds   map[string]int         // faults so far, by their name
	tokens  map[string]time.Time   // that are good, and when each was first used
	asked   map[string][]time.Time // by what for: manifests and blobs have limits of their own
	refused map[string]time.Time   // when the last answer of a storm of 429 was given, by the same
	storms  int                    // answers of a storm that are still to come
}

// Each path is answered badly four times at most, so that there is an end to it.
const (
	mostFaults = 4
	tokenLife  = 50 * time.Millisecond // after its first use, at least
	rudeRate   = 30                    // requests of each kind a second that all processes together may make
	stormAfter = 5 * time.Second
)

func newRude(t *testing.T, real *clustertest.Registry, seed uint64) *rude {
	r := &rude{
		real: real, done: make(chan struct{}), random: rand.New(rand.NewPCG(seed, 0)),
		faults: make(map[string]int), kinds: make(map[string]int), tokens: make(map[string]time.Time),
		asked: make(map[string][]time.Time), refused: make(map[string]time.Time),
	}
	t.Cleanup(func() { close(r.done) })
	return r
}

// answer is asked before each answer; see [clustertest.Registry.Fault].
func (r *rude) answer(w http.ResponseWriter, request *http.Request) bool {
	if request.URL.Path == "/token" {
		r.giveToken(w)
		return true
	}
	if !r.knows(request) {
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="rude"`, r.real.Host()))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	fault := r.choose(request.URL.Path)
	if fault == "" {
		return false
	}
	rudeness[fault](r, w, request)
	return true
}

func (r *rude) giveToken(w http.ResponseWriter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	token := strconv.FormatUint(r.random.Uint64(), 36)
	r.tokens[token] = time.Time{}
	fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, token)
}

// knows reports whether a request has a token that has not expired. Some that were
// used do before their time, for each path once.
func (r *rude) knows(request *http.Request) bool {
	token, _ := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	r.mu.Lock()
	defer r.mu.Unlock()
	first, good := r.tokens[token]
	now := time.Now()
	switch path := "token " + request.URL.Path; {
	case !good:
	case first.IsZero():
		r.tokens[token] = now
	// A client asks again at once over another connection where one was reset: such a token is not old.
	case now.Sub(first) > tokenLife && r.faults[path] == 0 && r.random.IntN(4) == 0:
		r.faults[path]++
		r.kinds["401"]++
		delete(r.tokens, token)
		return false
	}
	return good
}

// rudeness are the ways in which a request is answered badly.
var rudeness = map[string]func(r *rude, w http.ResponseWriter, request *http.Request){
	"429": func(_ *rude, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(int(stormAfter/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
	},
	"503":          func(_ *rude, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	"stall":        func(r *rude, _ http.ResponseWriter, request *http.Request) { r.stall(request) },
	"stall midway": func(r *rude, w http.ResponseWriter, request *http.Request) { r.half(w, request); r.stall(request) },
	"reset":        func(_ *rude, w http.ResponseWriter, _ *http.Request) { reset(w) },
	"reset midway": func(r *rude, w http.ResponseWriter, request *http.Request) { r.half(w, request); reset(w) },
	"truncated":    func(r *rude, w http.ResponseWriter, request *http.Request) { r.half(w, request) },
	"too long": func(r *rude, w http.ResponseWriter, request *http.Request) {
		recorded := r.record(request)
		_, _ = w.Write(append(recorded, "and more"...))
	},
	"too short": func(r *rude, w http.ResponseWriter, request *http.Request) {
		recorded := r.record(request)
		_, _ = w.Write(recorded[:len(recorded)/2])
	},
}

// stall says nothing until the client is gone.
func (r *rude) stall(request *http.Request) {
	select {
	case <-request.Context().Done():
	case <-r.done:
	}
}

// names are the ways by name, in an order.
var names = []string{"503", "stall", "stall midway", "reset", "reset midway", "truncated", "too long", "too short"}

// choose decides how a request is answered; "" is well.
func (r *rude) choose(path string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	kind := "blobs"
	if strings.Contains(path, "/manifests/") {
		kind = "manifests"
	}
	r.asked[kind] = append(r.asked[kind], now)
	if r.storms > 0 && r.faults["storm "+path] == 0 {
		r.storms--
		r.faults["storm "+path]++
		r.kinds["429"]++
		r.refused[kind] = now
		return "429"
	}
	if r.faults[path] >= mostFaults || r.random.IntN(3) > 0 {
		return ""
	}
	name := names[r.random.IntN(len(names))]
	if strings.HasPrefix(name, "too ") && (r.faults[path] > 0 || kind == "manifests") {
		return "" // of a tag nobody knows how long it is, and what is always of another length is given up, rightly
	}
	r.faults[path]++
	r.kinds[name]++
	return name
}

// record returns the good answer.
func (r *rude) record(request *http.Request) []byte {
	recorder := &bodyRecorder{header: make(http.Header)}
	r.real.Answer(recorder, request)
	return recorder.body
}

type bodyRecorder struct {
	header http.Header
	body   []byte
}

func (b *bodyRecorder) Header() http.Header { return b.header }
func (b *bodyRecorder) WriteHeader(int)     {}
func (b *bodyRecorder) Write(p []byte) (int, error) {
	b.body = append(b.body, p...)
	return len(p), nil
}

// half writes half of what it says.
func (r *rude) half(w http.ResponseWriter, request *http.Request) {
	recorder := &bodyRecorder{header: w.Header()}
	r.real.Answer(recorder, request)
	w.Header().Set("Content-Length", strconv.Itoa(len(recorder.body)))
	_, _ = w.Write(recorder.body[:len(recorder.body)/2])
	w.(http.Flusher).Flush()
}

// reset ends the connection as a crash does.
func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// TestRudeRegistry: nothing is lost with a registry that answers one request in three badly, and what it allows is kept by all
// processes together: the rate, and a pause that it told one of them.
func TestRudeRegistry(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED in short mode: the registry stalls")
	}
	s := newSystem(t)
	r := newRude(t, s.registry, 1)
	s.pulls = func() registry.Config {
		b, err := budget.New(budget.Config{Store: s.Store, Rates: map[string]float64{s.registry.Host(): rudeRate}})
		if err != nil {
			t.Fatal(err)
		}
		clustertest.Go(t, b.Run)
		return registry.Config{
			Retries: 2, RetryDelay: 20 * time.Millisecond, HeaderTimeout: time.Second, IdleTimeout: time.Second,
			Acquire: b.Acquire, Observe: b.Observe,
		}
	}
	a := s.coordinator("a")
	s.worker("w1")
	s.worker("w2")
	awaitOwners(t, a, 20*time.Second, "w1", "w2")
	s.registry.Fault(r.answer)
	began := time.Now()
	ids := s.submit(80)
	s.await(2*time.Minute, ids)
	r.mu.Lock()
	r.storms = 10
	r.mu.Unlock()
	ids = append(ids, s.submit(20)...)
	s.await(3*time.Minute, ids)
	r.check(t, time.Since(began))
}

// check holds what was asked against what is allowed.
func (r *rude) check(t *testing.T, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("%d requests for manifests and %d for blobs in %.1f s, %d in the busiest second, with faults %v",
		len(r.asked["manifests"]), len(r.asked["blobs"]), took.Seconds(), busiest(r.asked["blobs"], time.Second), r.kinds)
	for _, name := range append(names, "429", "401") {
		if r.kinds[name] == 0 {
			t.Errorf("nothing was answered with: %s", name)
		}
	}
	for kind, asked := range r.asked {
		if most := busiest(asked, time.Second); most > rudeMost {
			t.Errorf("%d requests for %s in a second, want %d at most", most, kind, rudeMost)
		}
		// A process that was refused asks no more, and the others know after a round or two.
		const known = 3 * time.Second
		for _, at := range asked {
			if since := at.Sub(r.refused[kind]); since > known && since < stormAfter-time.Second/2 {
				t.Errorf("a request for %s %s after the registry said to come again in %s", kind, since, stormAfter)
				break
			}
		}
	}
}

// rudeMost is how many requests of a kind there may be in a second: beyond the rate, what is saved up, a second's worth, and
// half a second's worth that each of the three processes may have drawn before.
const rudeMost = rudeRate * 7 / 2

// busiest returns the most moments that lie within a window.
func busiest(moments []time.Time, window time.Duration) (most int) {
	first := 0
	for i, at := range moments {
		for at.Sub(moments[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
