package updater

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// fixtures returns a directory with the fixtures of the sources where a mirror has them.
func fixtures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{
		"debian/testdata/tracker.json": "security-tracker.debian.org/tracker/data/json",
		"alpine/testdata/main.json":    "secdb.alpinelinux.org/v3.20/main.json",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newUpdater(t *testing.T, config Config) *Updater {
	t.Helper()
	u, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUpdate(t *testing.T) {
	s, dir := clustertest.Store(t), fixtures(t)
	registry := prometheus.NewRegistry()
	u := newUpdater(t, Config{
		Store: s, Fetch: fetch.New(fetch.Config{Mirror: dir}), Metrics: registry, Sources: []string{"alpine", "debian"},
	})
	outcomes, err := u.Update(t.Context(), nil, Options{})
	if err != nil || len(outcomes) != 2 {
		t.Fatalf("%d outcomes, %v", len(outcomes), err)
	}
	for _, o := range outcomes {
		if o.Err != nil || o.Documents != 1 || o.Delta.Added == 0 || o.Delta.Bad == 0 {
			t.Errorf("%s: %+v", o.Source, o)
		}
	}
	statuses, err := s.SourceStatuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range statuses {
		if st.State != store.FeedCurrent || st.Documents != 1 || st.Ranges == 0 || st.Undecided == 0 || st.Error != "" || st.Updated.IsZero() {
			t.Errorf("%s: %+v", st.Name, st)
		}
	}
	if n, err := testutil.GatherAndCount(registry, "trawl_updater_last_success_timestamp_seconds"); err != nil || n != 2 {
		t.Errorf("%d sources have a time of success, %v", n, err)
	}

	t.Run("nothing changed", func(t *testing.T) {
		outcomes, err := u.Update(t.Context(), []string{"debian"}, Options{})
		if err != nil || len(outcomes) != 1 || outcomes[0].Unchanged != 1 || outcomes[0].Delta.Records != 0 {
			t.Errorf("%+v, %v", outcomes, err)
		}
	})
	t.Run("looked at a moment ago", func(t *testing.T) {
		outcomes, err := u.Update(t.Context(), []string{"debian"}, Options{MaxAge: time.Hour})
		if err != nil || outcomes[0].Fresh != 1 || outcomes[0].Documents != 0 {
			t.Errorf("%+v, %v", outcomes, err)
		}
	})
	t.Run("only what a namespace needs", func(t *testing.T) {
		outcomes, err := u.Update(t.Context(), nil, Options{Namespaces: []string{"alpine:3.20"}})
		if err != nil || len(outcomes) != 1 || outcomes[0].Source != "alpine" || outcomes[0].Documents != 1 {
			t.Errorf("%+v, %v", outcomes, err)
		}
		if outcomes, err := u.Update(t.Context(), nil, Options{Namespaces: []string{"rhel:9"}}); err != nil || len(outcomes) != 0 {
			t.Errorf("%+v, %v", outcomes, err)
		}
	})
	t.Run("a broken document leaves the one before", func(t *testing.T) {
		name := filepath.Join(dir, "security-tracker.debian.org/tracker/data/json")
		if err := os.WriteFile(name, []byte(`{"zlib": {"CVE-`), 0o644); err != nil {
			t.Fatal(err)
		}
		outcomes, err := u.Update(t.Context(), []string{"debian"}, Options{})
		if err != nil || fault.KindOf(outcomes[0].Err) != fault.Corrupt {
			t.Fatalf("%+v, %v", outcomes, err)
		}
		statuses, err := s.SourceStatuses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range statuses {
			if st.Name == "debian" && (st.State != store.FeedFailed || st.Ranges == 0 || !strings.Contains(st.Error, "unexpected EOF")) {
				t.Errorf("%+v", st)
			}
		}
	})
	t.Run("a source nobody knows", func(t *testing.T) {
		if _, err := u.Update(t.Context(), []string{"gentoo"}, Options{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v", err)
		}
	})
}

func TestMissingDocumentIsSeen(t *testing.T) {
	s := clustertest.Store(t)
	u := newUpdater(t, Config{Store: s, Fetch: fetch.New(fetch.Config{Mirror: t.TempDir()}), Sources: []string{"debian"}})
	outcomes, err := u.Update(t.Context(), nil, Options{})
	if err != nil || fault.KindOf(outcomes[0].Err) != fault.NotFound {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	statuses, err := s.SourceStatuses(t.Context())
	if err != nil || statuses[0].State != store.FeedFailed || statuses[0].Documents != 0 || statuses[0].Error == "" {
		t.Errorf("%+v, %v", statuses, err)
	}
}

func TestLockKeepsRunsApart(t *testing.T) {
	s := clustertest.Store(t)
	u := newUpdater(t, Config{
		Store: s, Fetch: fetch.New(fetch.Config{Mirror: fixtures(t)}), Sources: []string{"debian"},
		Lock: func(context.Context, string) (context.Context, func(), error) { return nil, nil, ErrBusy },
	})
	outcomes, err := u.Update(t.Context(), nil, Options{})
	if err != nil || !errors.Is(outcomes[0].Err, ErrBusy) {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	if feeds, err := s.Feeds(t.Context(), "debian"); err != nil || len(feeds) != 0 {
		t.Errorf("a run without the lock left %+v, %v", feeds, err)
	}
}

func TestRun(t *testing.T) {
	s := clustertest.Store(t)
	var requests atomic.Int64
	fixture, err := os.ReadFile("debian/testdata/tracker.json")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(fixture)
	}))
	defer server.Close()
	ended := make(chan string, 16)
	u := newUpdater(t, Config{
		Store: s, Fetch: fetch.New(fetch.Config{Mirror: server.URL}), Sources: []string{"debian"},
		Logger: slog.New(events{ended}),
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	if got := <-ended; got != "updated" {
		t.Fatalf("the first run: %s", got)
	}
	if _, err := s.RequestRun(t.Context(), []string{"debian"}); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got != "updated" {
		t.Fatalf("the run asked for: %s", got)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests for two runs, want one each", n)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// events is a log handler that passes on the messages.
type events struct{ out chan<- string }

func (events) Enabled(context.Context, slog.Level) bool { return true }
func (e events) Handle(_ context.Context, r slog.Record) error {
	e.out <- r.Message
	return nil
}
func (e events) WithAttrs([]slog.Attr) slog.Handler { return e }
func (e events) WithGroup(string) slog.Handler      { return e }
