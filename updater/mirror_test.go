package updater

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/fetch"
	"github.com/trawl-scanner/trawl/updater/mirror"
)

// site is a server of the documents of all sources, in the layout of a mirror, that counts what it sends.
type site struct {
	dir, url string
	mu       sync.Mutex
	sent     []string
	refuse   string // part of the path that is answered with 500
	version  map[string]int
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: fixtures(t), version: make(map[string]int)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != "" && strings.Contains(r.URL.Path, s.refuse) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	text, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(r.URL.Path)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%d"`, s.version[r.URL.Path])
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		s.sent = append(s.sent, filepath.Base(r.URL.Path))
	}
	_, _ = w.Write(text)
}

// took returns what was sent since it was last asked.
func (s *site) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

const vex = "security.access.redhat.com/data/csaf/v2/vex/"

func (s *site) put(t *testing.T, place, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	name := filepath.Join(s.dir, filepath.FromSlash(place))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.version["/"+place]++
}

// putArchive makes Red Hat's documents of a day: an archive of two of them, and one that changed since.
func (s *site) putArchive(t *testing.T, day string) {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("redhat/testdata/vex")); err != nil {
		t.Fatal(err)
	}
	archive := tarOf(t, os.DirFS(root))
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, vex+"csaf_vex_"+day+".tar.zst", string(e.EncodeAll(archive, nil)))
	s.put(t, vex+"archive_latest.txt", "csaf_vex_"+day+".tar.zst\n")
}

func fill(t *testing.T, dir, from string, names ...string) map[string]Mirrored {
	t.Helper()
	into, err := mirror.Open(dir, fetch.Config{Mirror: from})
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	list, err := Mirror(t.Context(), into, names, MirrorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]Mirrored)
	for _, m := range list {
		out[m.Source] = m
	}
	return out
}

// counts runs sources on a new database, and returns what feeds list would tell.
func counts(t *testing.T, from string, names ...string) map[string][]int {
	t.Helper()
	s := clustertest.Store(t)
	u := newUpdater(t, Config{Store: s, Fetch: fetch.New(fetch.Config{Mirror: from}), Sources: names})
	outcomes, err := u.Update(t.Context(), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Err != nil {
			t.Errorf("%s: %v", o.Source, o.Err)
		}
	}
	return countsOf(t, s)
}

func countsOf(t *testing.T, s *store.Store) map[string][]int {
	t.Helper()
	statuses, err := s.SourceStatuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]int)
	for _, st := range statuses {
		out[st.Name] = []int{int(st.State), st.Documents, st.Records, st.Ranges, st.Undecided}
	}
	return out
}

// TestMirrorWalks holds that the documents of a source with a protocol of its own are mirrored, and cost what changed.
func TestMirrorWalks(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	document, err := os.ReadFile("redhat/testdata/vex/2024/cve-2024-90001.json")
	if err != nil {
		t.Fatal(err)
	}
	s.putArchive(t, "2026-03-31")
	s.put(t, vex+"changes.csv", `"2024/cve-2024-90001.json","2026-04-02T00:00:00+00:00"`+"\n")
	s.put(t, vex+"2024/cve-2024-90001.json", string(document))
	all := []string{"archive_latest.txt", "csaf_vex_2026-03-31.tar.zst", "changes.csv", "cve-2024-90001.json"}

	s.refuse = "cve-2024"
	if m := fill(t, dir, s.url, "redhat")["redhat"]; fault.KindOf(m.Err) != fault.Unavailable {
		t.Errorf("a document that cannot be had: %+v", m)
	}
	if files := documentsOf(t, dir); len(files) > 0 {
		t.Errorf("a list is in place without what it names: %v", files)
	}
	s.refuse = ""
	if m := fill(t, dir, s.url, "redhat")["redhat"]; m.Err != nil || m.Documents != 4 || m.Fetched != 1 {
		t.Errorf("%+v", m)
	}
	if diff := cmp.Diff(all, s.took()); diff != "" {
		t.Errorf("what was fetched before the failure is fetched again: %s", diff)
	}
	if diff := cmp.Diff(counts(t, s.dir, "redhat"), counts(t, dir, "redhat")); diff != "" {
		t.Errorf("the mirror says something else: %s", diff)
	}

	t.Run("nothing changed", func(t *testing.T) {
		if m := fill(t, dir, s.url, "redhat")["redhat"]; m.Err != nil || m.Fetched != 0 {
			t.Errorf("%+v", m)
		}
		if sent := s.took(); len(sent) != 0 {
			t.Errorf("sent %v", sent)
		}
	})
	t.Run("a document changed", func(t *testing.T) {
		s.put(t, vex+"2026/cve-2026-90003.json", strings.ReplaceAll(string(document), "CVE-2024-90001", "CVE-2026-90003"))
		s.put(t, vex+"changes.csv", `"2026/cve-2026-90003.json","2026-04-03T00:00:00+00:00"`+"\n"+
			`"2024/cve-2024-90001.json","2026-04-02T00:00:00+00:00"`+"\n")
		if m := fill(t, dir, s.url, "redhat")["redhat"]; m.Err != nil {
			t.Errorf("%+v", m)
		}
		if diff := cmp.Diff([]string{"changes.csv", "cve-2026-90003.json"}, s.took()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(counts(t, s.dir, "redhat"), counts(t, dir, "redhat")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a new archive", func(t *testing.T) {
		s.putArchive(t, "2026-04-03")
		if m := fill(t, dir, s.url, "redhat")["redhat"]; m.Err != nil || m.Removed != 0 {
			t.Errorf("%+v", m)
		}
		if diff := cmp.Diff([]string{"archive_latest.txt", "csaf_vex_2026-04-03.tar.zst"}, s.took()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(counts(t, s.dir, "redhat"), counts(t, dir, "redhat")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMirrorOfSources(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	s.refuse = "debian"
	got := fill(t, dir, s.url)
	if m := got["debian"]; fault.KindOf(m.Err) != fault.Unavailable || m.Documents != 0 {
		t.Errorf("%+v", m)
	}
	if m := got["alpine"]; m.Err != nil || m.Documents != 1 || m.Fetched != 1 {
		t.Errorf("the source behind it: %+v", m)
	}
	s.refuse = ""
	if m := fill(t, dir, s.url, "debian")["debian"]; m.Err != nil || m.Fetched != 1 {
		t.Errorf("%+v", m)
	}
	if diff := cmp.Diff(documentsOf(t, s.dir), documentsOf(t, dir)); diff != "" {
		t.Error(diff)
	}
	if _, err := Mirror(t.Context(), nil, []string{"gentoo"}, MirrorOptions{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a source nobody knows: %v", err)
	}
}

// TestMirrorOfRealDocuments mirrors all real documents, and holds that what is there is what an updater asks for.
func TestMirrorOfRealDocuments(t *testing.T) {
	from := realdata.Path(t, "feeds")
	dir := t.TempDir()
	for name, m := range fill(t, dir, from) {
		if m.Err != nil {
			t.Errorf("%s: %v", name, m.Err)
		}
	}
	there, mirrored := documentsOf(t, from), documentsOf(t, dir)
	for place, sum := range mirrored {
		if there[place] != sum {
			t.Errorf("%s is not what it was", place)
		}
	}
	// What is left out is what no updater asks for: sources that are read on demand, and documents that say what others do.
	for place := range there {
		_, ok := mirrored[place]
		unread := strings.HasPrefix(place, "www.redhat.com/") || strings.HasSuffix(place, ".meta") || strings.Contains(place, "-recent.") ||
			strings.Contains(place, "ecosystems.txt") || strings.Contains(place, "repository-to-cpe") || strings.Contains(place, "elsa-2023")
		if !ok && !unread {
			t.Errorf("%s is not mirrored", place)
		}
	}
	names := []string{"kev", "redhat", "rocky"}
	if diff := cmp.Diff(counts(t, from, names...), counts(t, dir, names...)); diff != "" {
		t.Error(diff)
	}
}

// documentsOf returns the documents of a mirror with what stands for their content.
func documentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".trawl"):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		sum, err := sumOf(filepath.Join(dir, name))
		out[name] = sum
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
