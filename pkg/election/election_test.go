package election

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// server is an etcd that is reached over TCP, so that connections to it can be cut.
type server struct {
	dir          string
	client, peer url.URL
	etcd         *embed.Etcd
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), client: freeURL(t), peer: freeURL(t)}
	s.start(t)
	t.Cleanup(func() { s.etcd.Close() })
	return s
}

func freeURL(t *testing.T) url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}

func (s *server) start(t *testing.T) {
	t.Helper()
	config := embed.NewConfig()
	config.Dir, config.ZapLoggerBuilder = s.dir, embed.NewZapLoggerBuilder(zap.NewNop())
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{s.client}, []url.URL{s.client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{s.peer}, []url.URL{s.peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs, config.ElectionMs, config.UnsafeNoFsync = 20, 200, true
	e, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	<-e.Server.ReadyNotify()
	s.etcd = e
}

// proxy stands between a client and the server, and can be cut: connections break, and none is let through.
type proxy struct {
	target   string
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]bool
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target, listener: l, open: make(map[net.Conn]bool)}
	t.Cleanup(func() { l.Close(); p.set(true) })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(from)
		}
	}()
	return p
}

func (p *proxy) pass(from net.Conn) {
	to, err := net.Dial("tcp", p.target)
	if err != nil {
		from.Close()
		return
	}
	p.mu.Lock()
	p.open[from], p.open[to] = true, true
	cut := p.cut
	p.mu.Unlock()
	if cut {
		from.Close()
		to.Close()
	}
	go func() { _, _ = io.Copy(to, from); to.Close() }()
	_, _ = io.Copy(from, to)
	from.Close()
}

func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.open {
			c.Close()
		}
		p.open = make(map[net.Conn]bool)
	}
}

func connect(t *testing.T, address string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 2 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// reign is one time of leading.
type reign struct {
	id         string
	term       Term
	began, end time.Time
	cause      error
}

// stage collects the reigns of a test's candidates.
type stage struct {
	mu     sync.Mutex
	reigns []reign
	began  chan reign
}

func newStage() *stage { return &stage{began: make(chan reign, 100)} }

// run stands for election until stop is called, and leads until its context ends.
func (s *stage) run(t *testing.T, client *clientv3.Client, id string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := Run(ctx, Config{Client: client, Prefix: "/test/lead", ID: id, TTL: 2 * time.Second}, func(ctx context.Context, term Term) error {
			r := reign{id: id, term: term, began: time.Now()}
			s.began <- r
			<-ctx.Done()
			r.end, r.cause = time.Now(), context.Cause(ctx)
			s.mu.Lock()
			s.reigns = append(s.reigns, r)
			s.mu.Unlock()
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func (s *stage) next(t *testing.T, within time.Duration) reign {
	t.Helper()
	select {
	case r := <-s.began:
		return r
	case <-time.After(within):
		t.Fatalf("nobody led within %s", within)
		return reign{}
	}
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	client := connect(t, startServer(t).client.Host)
	s := newStage()
	stopA := s.run(t, client, "a")
	first := s.next(t, 5*time.Second)
	s.run(t, client, "b")
	leader, err := Current(t.Context(), client, "/test/lead")
	if err != nil || leader.ID != "a" || leader.Term != first.term.Number || time.Since(leader.Since) > time.Minute {
		t.Errorf("leader %+v, %v", leader, err)
	}
	if err := first.term.Put(t.Context(), "/test/assignment", []byte("by a")); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	stopA()
	second := s.next(t, 5*time.Second)
	if second.id != "b" || second.term.Number <= first.term.Number {
		t.Errorf("then %+v after %+v", second, first)
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("handing over in order took %s", took)
	}
	err = first.term.Put(t.Context(), "/test/assignment", []byte("by a ghost"))
	if !errors.Is(err, ErrNotLeader) || fault.KindOf(err) != fault.Canceled {
		t.Errorf("a write of the past: %v, want ErrNotLeader", err)
	}
	if err := second.term.Put(t.Context(), "/test/assignment", []byte("by b")); err != nil {
		t.Error(err)
	}
}

func TestNobodyLeads(t *testing.T) {
	client := connect(t, startServer(t).client.Host)
	if _, err := Current(t.Context(), client, "/test/lead"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v, want not-found", err)
	}
	err := Run(t.Context(), Config{Client: client, Prefix: "/test/lead", TTL: 1500 * time.Millisecond}, nil)
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("%v, want invalid", err)
	}
}

func TestLeaderThatIsCutOffStepsDownFirst(t *testing.T) {
	t.Parallel()
	etcd := startServer(t)
	p := startProxy(t, etcd.client.Host)
	s := newStage()
	s.run(t, connect(t, p.listener.Addr().String()), "cut")
	s.next(t, 5*time.Second)
	s.run(t, connect(t, etcd.client.Host), "next")
	cut := time.Now()
	p.set(true)
	second := s.next(t, 10*time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reigns) != 1 || s.reigns[0].id != "cut" || !errors.Is(s.reigns[0].cause, ErrLeaseDoubtful) {
		t.Fatalf("reigns %+v, want the one that was cut off, in doubt of its lease", s.reigns)
	}
	if s.reigns[0].end.After(second.began) {
		t.Errorf("the old leader led until %s after the new one began", s.reigns[0].end.Sub(second.began))
	}
	if took := second.began.Sub(cut); second.id != "next" || took > 4*time.Second {
		t.Errorf("%s led after %s", second.id, took)
	}
}

func TestEtcdRestarts(t *testing.T) {
	t.Parallel()
	etcd := startServer(t)
	s := newStage()
	s.run(t, connect(t, etcd.client.Host), "a")
	first := s.next(t, 5*time.Second)
	etcd.etcd.Close()
	time.Sleep(3 * time.Second) //nolint:forbidigo // longer than the lease: an outage is time without an event
	etcd.start(t)
	second := s.next(t, 15*time.Second)
	if second.term.Number <= first.term.Number {
		t.Errorf("term %d after %d", second.term.Number, first.term.Number)
	}
}

// TestOneAtATime cuts and restarts candidates at random and holds their reigns against one another.
func TestOneAtATime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 seconds")
	}
	t.Parallel()
	etcd := startServer(t)
	s := newStage()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for i := range 3 {
		p := startProxy(t, etcd.client.Host)
		client := connect(t, p.listener.Addr().String())
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			pause := func() {
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(random.IntN(2000)) * time.Millisecond):
				}
			}
			for n := 0; ctx.Err() == nil; n++ {
				stop := s.run(t, client, fmt.Sprintf("%d.%d", i, n))
				pause()
				if random.IntN(2) == 0 {
					p.set(true)
					pause()
					p.set(false)
				}
				stop()
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reigns) < 2 {
		t.Fatalf("only %d reigns", len(s.reigns))
	}
	for i, a := range s.reigns {
		for _, b := range s.reigns[:i] {
			if a.term.Number == b.term.Number {
				t.Errorf("%s and %s had one term", a.id, b.id)
			}
			if a.began.Before(b.end) && b.began.Before(a.end) {
				t.Errorf("%s led from %s to %s, and %s from %s to %s", a.id, a.began, a.end, b.id, b.began, b.end)
			}
		}
	}
	t.Logf("%d reigns", len(s.reigns))
}

// TestLeaderThatDies measures with the default time to live how long nobody leads after a leader was lost without a word.
func TestLeaderThatDies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 6 seconds")
	}
	t.Parallel()
	etcd := startServer(t)
	p := startProxy(t, etcd.client.Host)
	began := make(chan string, 10)
	for _, c := range []struct {
		id     string
		client *clientv3.Client
	}{{"victim", connect(t, p.listener.Addr().String())}, {"heir", connect(t, etcd.client.Host)}} {
		go func() {
			err := Run(t.Context(), Config{Client: c.client, Prefix: "/test/lead", ID: c.id}, func(ctx context.Context, _ Term) error {
				began <- c.id
				<-ctx.Done()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
		if c.id == "victim" {
			<-began
		}
	}
	died := time.Now()
	p.set(true)
	heir := <-began
	took := time.Since(died)
	t.Logf("%s led after %s", heir, took.Round(10*time.Millisecond))
	if heir != "heir" || took > 7*time.Second {
		t.Errorf("%s led after %s, want the heir within some 6 s", heir, took)
	}
}

// TestLeadersError holds that a leader that fails stands again, that its error is reported, and that its terms grow.
func TestLeadersError(t *testing.T) {
	t.Parallel()
	client := connect(t, startServer(t).client.Host)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	bad := errors.New("bad luck")
	var terms []int64
	var reported []error
	err := Run(ctx, Config{
		Client: client, Prefix: "/test/lead", ID: "a", Report: func(err error) { reported = append(reported, err) },
	}, func(ctx context.Context, term Term) error {
		if terms = append(terms, term.Number); len(terms) < 3 {
			return bad
		}
		cancel()
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err != nil || len(terms) != 3 || terms[0] >= terms[1] || terms[1] >= terms[2] {
		t.Errorf("terms %v, %v; want three that grow", terms, err)
	}
	if len(reported) != 2 || !errors.Is(reported[0], bad) {
		t.Errorf("reported %v, want the error twice", reported)
	}
	if _, err := Current(t.Context(), client, "/test/lead"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after the end: %v, want that nobody leads", err)
	}
}

// TestLeaderThatNeedsTime holds that nobody else leads while a leader that was told to stop is stopping.
func TestLeaderThatNeedsTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 seconds")
	}
	t.Parallel()
	client := connect(t, startServer(t).client.Host)
	config := Config{Client: client, Prefix: "/test/lead", ID: "slow", TTL: 2 * time.Second}
	ctx, stop := context.WithCancel(t.Context())
	leads, ended := make(chan struct{}), make(chan time.Time, 1)
	go func() {
		_ = Run(ctx, config, func(ctx context.Context, _ Term) error {
			close(leads)
			<-ctx.Done()
			<-time.After(4 * time.Second) // twice the time to live: work that has to be finished
			ended <- time.Now()
			return nil
		})
	}()
	<-leads
	stop()
	config.ID = "next"
	next, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := Run(next, config, func(context.Context, Term) error {
		defer cancel()
		select {
		case end := <-ended:
			if took := time.Since(end); took > time.Second {
				t.Errorf("led %s after the other had ended", took)
			}
		default:
			t.Error("led before the other had ended")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
