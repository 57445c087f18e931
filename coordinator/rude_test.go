package coordinator_test

import (
	"context"
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

	mu       sync.Mutex
	random   *rand.Rand
	faults   map[string]int    // so far, by path
	kinds    map[string]int    // faults so far, by their name
	tokens   map[string]*token // that were given
	asked    map[account][]time.Time
	pauses   map[account][]pause
	underway map[*http.Request]*visit
	most     int       // requests that were under way at once
	crowds   [][]visit // that were more than allowed, as far as could be seen then
}

// account is what the registry counts by: manifests and blobs have limits of their own, and so have those it knows.
type account struct{ kind, user string }

// token is a token, and when it was used first.
type token struct {
	user  string
	first time.Time
	old   bool
}

// pause is a time in which the registry wants to be left alone.
type pause struct{ from, until time.Time }

// visit is a request that is under way. A client that gave up is gone some time before the registry sees that.
type visit struct {
	seen time.Time
	gone *time.Time // when the client was; zero if it was there to the end
}

// Each path is answered badly twice at most, so that there is an end to it.
const (
	mostFaults = 2
	tokenLife  = 50 * time.Millisecond // after its first use, at least
	rudeRate   = 15                    // requests of each kind a second that all processes together may make as the same user
	rudeSlots  = 5                     // requests that they may have under way at once
	thinkTime  = 30 * time.Millisecond // before a good answer
	stormAfter = 3 * time.Second       // as the registry says in a storm of 429
	unsaid     = 4 * time.Second       // how long it is left alone when it does not say, to whom it knows
)

func newRude(t *testing.T, real *clustertest.Registry, seed uint64) *rude {
	r := &rude{
		real: real, done: make(chan struct{}), random: rand.New(rand.NewPCG(seed, 0)),
		faults: make(map[string]int), kinds: make(map[string]int), tokens: make(map[string]*token),
		asked:  make(map[account][]time.Time),
		pauses: make(map[account][]pause), underway: make(map[*http.Request]*visit),
	}
	t.Cleanup(func() { close(r.done) })
	return r
}

// answer is asked before each answer; see [clustertest.Registry.Fault].
func (r *rude) answer(w http.ResponseWriter, request *http.Request) bool {
	r.enter(request)
	defer r.leave(request)
	if request.URL.Path == "/token" {
		r.giveToken(w, request)
		return true
	}
	who, known := r.knows(request)
	if !known {
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="rude"`, r.real.Host()))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	fault := r.choose(who, request.URL.Path)
	if fault == "" {
		select {
		case <-time.After(thinkTime):
		case <-r.done:
		}
		r.real.Answer(w, request) // is sent when the visit is over: it is short
		return true
	}
	rudeness[fault](r, w, request)
	return true
}

// enter counts a request as under way.
func (r *rude) enter(request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.underway[request] = &visit{gone: new(time.Time)}
	r.most = max(r.most, len(r.underway))
	if len(r.underway) > rudeSlots {
		var crowd []visit
		for _, v := range r.underway {
			crowd = append(crowd, visit{now, v.gone})
		}
		r.crowds = append(r.crowds, crowd)
	}
}

// leave is called before the client can know that its request is over, or when it is gone.
func (r *rude) leave(request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.underway[request]; v != nil && request.Context().Err() != nil {
		*v.gone = time.Now()
		r.faults["gone "+request.URL.Path]++
	}
	delete(r.underway, request)
}

func (r *rude) giveToken(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	user, _, _ := request.BasicAuth()
	who := account{"token", user}
	r.asked[who] = append(r.asked[who], time.Now())
	value := strconv.FormatUint(r.random.Uint64(), 36)
	r.tokens[value] = &token{user: user}
	fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, value)
}

// knows reports who makes a request, and whether that one has a token that has not expired. Some that were
// used do before their time, for each path once.
func (r *rude) knows(request *http.Request) (who account, known bool) {
	value, _ := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	r.mu.Lock()
	defer r.mu.Unlock()
	who.kind = "blob"
	if strings.Contains(request.URL.Path, "/manifests/") {
		who.kind = "manifest"
	}
	now := time.Now()
	t := r.tokens[value]
	if t != nil {
		who.user = t.user
	}
	r.asked[who] = append(r.asked[who], now)
	switch path := "token " + request.URL.Path; {
	case t == nil || t.old:
		return who, false
	case t.first.IsZero():
		t.first = now
	// A client asks again at once over another connection where one was reset: such a token is not old.
	case now.Sub(t.first) > tokenLife && r.faults[path] == 0 && r.random.IntN(4) == 0:
		r.faults[path]++
		r.kinds["401"]++
		t.old = true
		return who, false
	}
	return who, true
}

// rudeness are the ways in which a request is answered badly.
var rudeness = map[string]func(r *rude, w http.ResponseWriter, request *http.Request){
	"429": func(_ *rude, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(int(stormAfter/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
	},
	"429 unsaid":   func(_ *rude, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
	"503":          func(_ *rude, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	"stall":        func(r *rude, _ http.ResponseWriter, request *http.Request) { r.stall(request) },
	"stall midway": func(r *rude, w http.ResponseWriter, request *http.Request) { r.half(w, request); r.stall(request) },
	"reset":        func(r *rude, w http.ResponseWriter, request *http.Request) { r.reset(w, request) },
	"reset midway": func(r *rude, w http.ResponseWriter, request *http.Request) { r.half(w, request); r.reset(w, request) },
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

// stormy reports whether there is a storm, which is over when its first pause is. It begins with some request of each kind and user, the
// long one early.
func (r *rude) stormy(who account, now time.Time) bool {
	from, pauses := 12, r.pauses[who]
	if who.user != "" {
		from = 1
	}
	switch {
	case len(r.asked[who]) <= from:
		return false
	case who == account{kind: "blob"}: // it tells one process, and sees whether the others hear of it
		return len(pauses) == 0
	}
	return len(pauses) == 0 || now.Before(pauses[0].until)
}

// choose decides how a request is answered; "" is well.
func (r *rude) choose(who account, path string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.stormy(who, now) && r.faults["storm "+path] == 0 {
		r.faults["storm "+path]++
		name, after := "429", stormAfter
		if who.user != "" {
			name, after = "429 unsaid", unsaid
		}
		r.kinds[name]++
		r.pauses[who] = append(r.pauses[who], pause{now, now.Add(after)})
		return name
	}
	if r.faults[path] >= mostFaults || r.random.IntN(3) > 0 {
		return ""
	}
	// Of a tag nobody knows how long it is. What is of another length at the third attempt is given up, rightly.
	sized := r.faults["gone "+path] < 2 && who.kind == "blob"
	best := ""
	for _, name := range names { // what was done least
		if (sized || !strings.HasPrefix(name, "too ")) && (best == "" || r.kinds[name] < r.kinds[best]) {
			best = name
		}
	}
	r.faults[path]++
	r.kinds[best]++
	return best
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
func (r *rude) reset(w http.ResponseWriter, request *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	r.leave(request)
	_ = conn.Close()
}

// robot is the keychain of somebody whom the registry knows.
type robot struct{}

func (robot) Find(context.Context, string) registry.Credential {
	return registry.Credential{Username: "robot", Password: "of no account"}
}

// TestRudeRegistry: nothing is lost with a registry that answers one request in three badly, and what it allows is kept by all
// processes together: the rate, what is under way at once, and a pause that it told one of them.
func TestRudeRegistry(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED in short mode: the registry stalls")
	}
	s := newSystem(t)
	r := newRude(t, s.registry, 1)
	keychains := []registry.Keychain{registry.Anonymous{}, registry.Anonymous{}, robot{}, registry.Anonymous{}, registry.Anonymous{}}
	s.pulls = func() registry.Config {
		b, err := budget.New(budget.Config{
			Store: s.Store, Rates: map[string]float64{s.registry.Host(): rudeRate}, Slots: map[string]int{s.registry.Host(): rudeSlots},
			Pause: unsaid, Logger: s.logger("budget"),
		})
		if err != nil {
			t.Fatal(err)
		}
		clustertest.Go(t, b.Run)
		keychain := keychains[0]
		keychains = keychains[1:]
		return registry.Config{
			Retries: 2, RetryDelay: 20 * time.Millisecond, HeaderTimeout: time.Second, IdleTimeout: time.Second,
			Acquire: b.Acquire, Observe: b.Observe, Keychain: keychain,
		}
	}
	a, _ := s.coordinator("a"), s.coordinator("b")
	for _, name := range []string{"w1", "w2", "w3"} {
		s.worker(name)
	}
	awaitOwners(t, a, "w1", "w2", "w3")
	s.registry.Fault(r.answer)
	began := time.Now()
	s.await(s.submit(25))
	r.check(t, time.Since(began))
}

// check holds what was asked against what is allowed.
func (r *rude) check(t *testing.T, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("%.1f s, with faults %v, and at most %d requests at once", took.Seconds(), r.kinds, r.most)
	for _, name := range append(names, "429", "429 unsaid", "401") {
		if r.kinds[name] == 0 {
			t.Errorf("nothing was answered with: %s", name)
		}
	}
	for _, crowd := range r.crowds {
		there := 0
		for _, v := range crowd {
			if v.gone.IsZero() || v.gone.Sub(v.seen) > 300*time.Millisecond {
				there++
			}
		}
		if there > rudeSlots {
			t.Errorf("%d requests at once, want %d at most", there, rudeSlots)
		}
	}
	for who, asked := range r.asked {
		most, late := busiest(asked, time.Second), r.late(who)
		t.Logf("%d requests for a %s as %q, %d in the busiest second", len(asked), who.kind, who.user, most)
		if most > rudeMost {
			t.Errorf("%d requests for a %s as %q in a second, want %d at most", most, who.kind, who.user, rudeMost)
		}
		if len(late) > 0 {
			t.Errorf("requests for a %s as %q, %v after the registry wanted to be left alone", who.kind, who.user, late)
		}
	}
}

// late returns how long after pauses began requests were made that ought not to have been. All processes know of a
// pause after a second; what they had begun comes then, and machines are slow at times.
func (r *rude) late(who account) (late []time.Duration) {
	const known, clocks = 2 * time.Second, 100 * time.Millisecond
	for _, at := range r.asked[who] {
		for _, p := range r.pauses[who] {
			if since := at.Sub(p.from); since > known && p.until.Sub(at) > clocks {
				late = append(late, since)
			}
		}
	}
	return late
}

// rudeMost is how many requests of a kind there may be in a second: two seconds' worth, as package budget promises, and what comes
// later than it was sent.
const rudeMost = rudeRate*2 + rudeRate/4

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
