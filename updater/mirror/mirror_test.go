package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// upstream is a server of documents that change. It keeps the requests that it got an answer to with content.
type upstream struct {
	mu        sync.Mutex
	documents map[string]string // by path, with the host before it
	dies      map[string]bool   // in the middle of the document
	sent      []string
	url       string
}

func newUpstream(t *testing.T) *upstream {
	u := &upstream{documents: make(map[string]string), dies: make(map[string]bool)}
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	u.url = server.URL
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	place := strings.TrimPrefix(r.URL.Path, "/")
	text, ok := u.documents[place]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text)))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if u.dies[place] {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = w.Write([]byte(text[:len(text)/2]))
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodGet {
		u.sent = append(u.sent, place)
	}
	_, _ = w.Write([]byte(text))
}

// mend ends that transfers die.
func (u *upstream) mend() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dies = nil
}

// took returns what was sent since it was last asked.
func (u *upstream) took() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	sent := u.sent
	u.sent = nil
	return sent
}

func open(t *testing.T, root, from string) *Dir {
	t.Helper()
	d, err := Open(root, fetch.Config{Mirror: from})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// get reads documents for a feed.
func get(t *testing.T, d *Dir, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		document, err := d.Get(t.Context(), address, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := document.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// content returns the documents in place.
func content(t *testing.T, root string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == own {
				return filepath.SkipDir
			}
			return nil
		}
		text, err := os.ReadFile(name)
		place, _ := filepath.Rel(root, name)
		out[filepath.ToSlash(place)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const feed = "https://feeds.example/list"

func TestFill(t *testing.T) {
	u, root := newUpstream(t), t.TempDir()
	u.documents = map[string]string{"feeds.example/list": "names a", "feeds.example/a": "a", "feeds.example/z.gz": "\x1f\x8b zipped"}
	d := open(t, root, u.url)
	d.Begin(feed)
	get(t, d, feed, "https://feeds.example/a", "https://feeds.example/z")
	if got := content(t, root); len(got) != 0 {
		t.Errorf("in place before it was published: %v", got)
	}
	if err := d.Publish(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(u.documents, content(t, root)); diff != "" {
		t.Error(diff)
	}
	want := Stats{Documents: 3, Fetched: 3, Bytes: 17}
	if diff := cmp.Diff(want, d.Stats()); diff != "" {
		t.Error(diff)
	}
	u.took()

	t.Run("nothing changed", func(t *testing.T) {
		d.Begin(feed)
		get(t, d, feed, "https://feeds.example/a", "https://feeds.example/z")
		if sent := u.took(); len(sent) > 0 || d.Publish() != nil || d.Stats().Fetched != 0 || d.Stats().Documents != 3 {
			t.Errorf("sent %v, %+v", sent, d.Stats())
		}
	})
	t.Run("one changed, and is no longer compressed", func(t *testing.T) {
		delete(u.documents, "feeds.example/z.gz")
		u.documents["feeds.example/z"] = "plain"
		d.Begin(feed)
		get(t, d, feed, "https://feeds.example/a", "https://feeds.example/z")
		if err := d.Publish(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u.documents, content(t, root)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"feeds.example/z"}, u.took()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("somebody changed the mirror", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(root, "feeds.example/a"), []byte("by hand"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(root, "feeds.example/z")); err != nil {
			t.Fatal(err)
		}
		d.Begin(feed)
		get(t, d, feed, "https://feeds.example/a", "https://feeds.example/z")
		if err := d.Publish(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u.documents, content(t, root)); diff != "" {
			t.Error(diff)
		}
		u.took()
	})
	t.Run("upstream no longer has one", func(t *testing.T) {
		delete(u.documents, "feeds.example/a")
		d.Begin(feed)
		if ok, err := d.Exists(t.Context(), "https://feeds.example/a"); ok || err != nil {
			t.Errorf("exists: %v, %v", ok, err)
		}
		if _, err := d.Get(t.Context(), "https://feeds.example/a", "", nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("got %v", err)
		}
		if len(d.Stats().Gone) != 2 || content(t, root)["feeds.example/a"] != "a" {
			t.Errorf("%+v, %v", d.Stats(), content(t, root))
		}
	})
	t.Run("a mirror of the mirror", func(t *testing.T) {
		again := t.TempDir()
		second := open(t, again, root)
		for _, want := range []int{2, 0} {
			second.Begin(feed)
			get(t, second, feed, "https://feeds.example/z")
			if err := second.Publish(); err != nil || second.Stats().Fetched != want {
				t.Errorf("%+v, %v", second.Stats(), err)
			}
		}
		if got := content(t, again); len(got) != 2 || got["feeds.example/z"] != "plain" {
			t.Errorf("%v", got)
		}
	})
	t.Run("by another process", func(t *testing.T) {
		if _, err := Open(root, fetch.Config{}); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a second process may fill it: %v", err)
		}
	})
}

// TestEndsAnywhere ends a run after each of its documents, as kill -9 does, and lets another go on.
func TestEndsAnywhere(t *testing.T) {
	addresses := []string{feed, "https://feeds.example/a", "https://feeds.example/b", "https://feeds.example/c"}
	for ended := range len(addresses) + 1 {
		u, root := newUpstream(t), t.TempDir()
		fill := func(version string) {
			for _, address := range addresses {
				u.documents[strings.TrimPrefix(address, "https://")] = version
			}
		}
		fill("old")
		d := open(t, root, u.url)
		d.Begin(feed)
		get(t, d, addresses...)
		if err := d.Publish(); err != nil {
			t.Fatal(err)
		}
		fill("new")
		u.took()
		d.Begin(feed)
		get(t, d, addresses[:ended]...)
		if err := os.WriteFile(filepath.Join(root, d.spoolDir(), "trawl-feed-1"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.staged("feeds.example/stray"), nil, 0o600); ended > 0 && err != nil {
			t.Fatal(err)
		}
		for place, text := range content(t, root) {
			if text != "old" {
				t.Errorf("ended after %d: %s is in place", ended, place)
			}
		}
		d.Close()

		d = open(t, root, u.url)
		d.Begin(feed)
		get(t, d, addresses...)
		if err := d.Publish(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u.documents, content(t, root)); diff != "" {
			t.Errorf("ended after %d: %s", ended, diff)
		}
		if sent := u.took(); len(sent) != len(addresses) {
			t.Errorf("ended after %d: fetched %v", ended, sent)
		}
		left, err := filepath.Glob(filepath.Join(root, own, "s*", "*", "*"))
		if spooled, _ := filepath.Glob(filepath.Join(root, own, "spool", "*")); err != nil || len(left)+len(spooled) > 0 {
			t.Errorf("ended after %d: left %v %v, %v", ended, left, spooled, err)
		}
		d.Close()
	}
}

// TestPublishOrder holds that a list is put in place after what it names.
func TestPublishOrder(t *testing.T) {
	u, root := newUpstream(t), t.TempDir()
	u.documents = map[string]string{"feeds.example/list": "names a", "feeds.example/a": "a"}
	d := open(t, root, u.url)
	d.Begin(feed)
	get(t, d, feed, "https://feeds.example/a")
	// The list cannot be put in place: a folder is in its way.
	if err := os.MkdirAll(filepath.Join(root, "feeds.example/list/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(); err == nil {
		t.Error("published over a folder")
	}
	if got := content(t, root); got["feeds.example/a"] != "a" {
		t.Errorf("the document that the list names is not there before it: %v", got)
	}
}

func TestServerDies(t *testing.T) {
	u, root := newUpstream(t), t.TempDir()
	u.documents = map[string]string{"feeds.example/list": "names a", "feeds.example/a": strings.Repeat("a", 1000)}
	d := open(t, root, u.url)
	u.dies["feeds.example/a"] = true
	d.Begin(feed)
	get(t, d, feed)
	if _, err := d.Get(t.Context(), "https://feeds.example/a", "", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	u.mend()
	d.Begin(feed)
	u.took()
	get(t, d, feed, "https://feeds.example/a")
	if err := d.Publish(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(u.documents, content(t, root)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"feeds.example/a"}, u.took()); diff != "" {
		t.Errorf("what was fetched before is fetched again: %s", diff)
	}
}

func TestPrune(t *testing.T) {
	u, root := newUpstream(t), t.TempDir()
	u.documents = map[string]string{"feeds.example/list": "1", "feeds.example/a": "a", "feeds.example/b": "b", "other.example/c": "c"}
	d := open(t, root, u.url)
	for _, walk := range [][]string{{"https://other.example/c"}, {feed, "https://feeds.example/a"}, {feed, "https://feeds.example/b"}} {
		d.Begin(walk[0])
		get(t, d, walk...)
		if err := d.Publish(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Prune(d.began); err != nil || d.Stats().Removed != 1 {
		t.Fatalf("%+v, %v", d.Stats(), err)
	}
	want := maps.Clone(u.documents)
	delete(want, "feeds.example/a")
	if diff := cmp.Diff(want, content(t, root)); diff != "" {
		t.Error(diff)
	}
	if err := d.Prune(time.Now().Add(-time.Hour)); err != nil || d.Stats().Removed != 1 {
		t.Errorf("%+v, %v", d.Stats(), err)
	}
}

func TestWalk(t *testing.T) {
	root := t.TempDir()
	d := open(t, root, "")
	d.Begin(feed)
	if got := d.Walked(); got != (Walk{}) {
		t.Errorf("%+v", got)
	}
	if err := d.NoteWalk(Walk{"1", "9"}); err != nil {
		t.Fatal(err)
	}
	if got := d.Walked(); got != (Walk{"1", "9"}) {
		t.Errorf("%+v", got)
	}
	d.Begin("https://feeds.example/other")
	if got := d.Walked(); got != (Walk{}) {
		t.Errorf("%+v", got)
	}
}

func TestAddresses(t *testing.T) {
	root := t.TempDir()
	d := open(t, root, t.TempDir())
	d.Begin(feed)
	for _, address := range []string{"", "list", "https://../x", "https:///x", "https://./x"} {
		if _, err := d.Get(context.Background(), address, "", nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", address, err)
		}
	}
	if place, err := fetch.Place("https://feeds.example/../../../x"); place != "feeds.example/x" || err != nil {
		t.Errorf("%q, %v", place, err)
	}
	if err := os.WriteFile(filepath.Join(root, own, "x"), bytes.Repeat([]byte("x"), 3), 0o600); err != nil {
		t.Fatal(err)
	}
}
