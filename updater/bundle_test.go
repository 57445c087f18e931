package updater

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/bundle"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// desk is a place with a database of its own, that reads documents or bundles.
type desk struct {
	t *testing.T
	*store.Store
	*Updater
}

func newDesk(t *testing.T, mirror string) *desk {
	s := clustertest.Store(t)
	return &desk{t, s, newUpdater(t, Config{Store: s, Fetch: fetch.New(fetch.Config{Mirror: mirror})})}
}

func (d *desk) read(names ...string) {
	d.t.Helper()
	outcomes, err := d.Update(d.t.Context(), names, Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Err != nil {
			d.t.Fatalf("%s: %v", o.Source, o.Err)
		}
	}
}

func (d *desk) export(base *bundle.Manifest) (string, *bundle.Manifest) {
	d.t.Helper()
	name := filepath.Join(d.t.TempDir(), "feeds.tar.zst")
	w, err := bundle.Create(name)
	if err != nil {
		d.t.Fatal(err)
	}
	defer w.Close()
	if err := d.Export(d.t.Context(), w, nil, base, nil); err != nil {
		d.t.Fatal(err)
	}
	m := bundle.Manifest{Created: time.Now()}
	if base != nil {
		m.Base = &bundle.Base{Created: base.Created, SHA256: make(bundle.Sum, 32)}
	}
	out, err := w.Finish(m, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return name, out
}

// imports applies a bundle and returns what became of its sections, by feed or source.
func (d *desk) imports(name string, options ImportOptions) map[string]Imported {
	d.t.Helper()
	r, err := bundle.Open(name, bundle.Trust{Unsigned: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Close()
	list, err := d.Import(d.t.Context(), r, options)
	if err != nil {
		d.t.Fatal(err)
	}
	out := make(map[string]Imported)
	for _, i := range list {
		out[i.String()] = i
	}
	return out
}

// says returns all that a database says of advisories.
func (d *desk) says() map[string][]string {
	d.t.Helper()
	out := make(map[string][]string)
	err := d.Snapshot(d.t.Context(), func(s *store.Snapshot) error {
		feeds, err := s.Feeds(d.t.Context())
		if err != nil {
			return err
		}
		for _, f := range feeds {
			f.Changed, f.Validator = time.Time{}, ""
			out[f.URL] = append(out[f.URL], fmt.Sprintf("%+v", f))
			for r, err := range s.Ranges(d.t.Context(), f.URL) {
				if err != nil {
					return err
				}
				out[f.URL] = append(out[f.URL], fmt.Sprintf("%+v", r))
			}
			for r, err := range s.Descriptions(d.t.Context(), f.Source) {
				if err != nil {
					return err
				}
				out[f.Source] = append(out[f.Source], fmt.Sprintf("%+v", r))
			}
		}
		for _, facts := range []advisory.Exploitations{s.KnownExploited(d.t.Context()), s.Scores(d.t.Context())} {
			for e, err := range facts {
				if err != nil {
					return err
				}
				out["exploitation"] = append(out["exploitation"], fmt.Sprintf("%s %+v %+v", e.CVE, e.Known, e.Score))
			}
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, list := range out { // ids, and so the order, are each database's own
		slices.Sort(list)
	}
	return out
}

// everything is a mirror with documents of sources of each kind.
func everything(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	for from, to := range map[string]string{
		"kev/testdata/kev.json":  "www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
		"epss/testdata/epss.csv": "epss.empiricalsecurity.com/epss_scores-current.csv.gz",
		"nvd/testdata/nvd.json":  "nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-modified.json.gz",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		s.put(t, to, string(text))
	}
	s.putArchive(t, "2026-03-31")
	s.put(t, vex+"changes.csv", "")
	return s
}

// statusOf returns what feeds list tells of a source.
func statusOf(t *testing.T, s *store.Store, name string) store.SourceStatus {
	t.Helper()
	statuses, err := s.SourceStatuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range statuses {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("there is no source %s", name)
	return store.SourceStatus{}
}

const (
	tracker = "https://security-tracker.debian.org/tracker/data/json"
	secdb   = "https://secdb.alpinelinux.org/v3.20/main.json"
)

func TestBundle(t *testing.T) {
	site := everything(t)
	from, to := newDesk(t, site.dir), newDesk(t, t.TempDir())
	from.read()
	name, full := from.export(nil)
	if got := to.imports(name, ImportOptions{}); len(got) != len(full.Sections) || got[tracker].Delta.Added == 0 {
		t.Fatalf("%d of %d sections: %+v", len(got), len(full.Sections), got[tracker])
	}
	if diff := cmp.Diff(from.says(), to.says()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(countsOf(t, from.Store), countsOf(t, to.Store)); diff != "" {
		t.Errorf("feeds list says something else: %s", diff)
	}
	contents := make(map[bundle.Content]int64)
	for _, s := range full.Sections {
		contents[s.Content] += s.Lines
	}
	for _, c := range []bundle.Content{bundle.Ranges, bundle.Descriptions, bundle.KnownExploited, bundle.Scores} {
		if contents[c] == 0 {
			t.Errorf("the bundle has no %s", c)
		}
	}

	t.Run("again", func(t *testing.T) {
		for key, i := range to.imports(name, ImportOptions{}) {
			if i.Err != nil || (!i.Unchanged && i.Feed != nil) {
				t.Errorf("%s: %+v", key, i)
			}
		}
	})
	t.Run("only what changed", func(t *testing.T) {
		site.put(t, strings.TrimPrefix(tracker, "https://"), `{"zlib": {"CVE-2026-7777": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}}}`)
		from.read("debian", "kev")
		name, m := from.export(full)
		if m.Base == nil {
			t.Fatal("it stands on nothing")
		}
		var files []string
		for _, s := range m.Sections {
			if s.File != "" {
				files = append(files, s.String())
			}
		}
		if diff := cmp.Diff([]string{tracker, "descriptions of debian"}, files); diff != "" {
			t.Error(diff)
		}
		for key, i := range to.imports(name, ImportOptions{}) {
			if i.Err != nil {
				t.Errorf("%s: %v", key, i.Err)
			}
		}
		if diff := cmp.Diff(from.says(), to.says()); diff != "" {
			t.Error(diff)
		}
		other := newDesk(t, t.TempDir())
		got := other.imports(name, ImportOptions{})
		if got[tracker].Err != nil || !errors.Is(got[secdb].Err, ErrOtherBase) {
			t.Errorf("without the base: %+v, %v", got[tracker].Err, got[secdb].Err)
		}
	})
	t.Run("older", func(t *testing.T) {
		before := to.says()
		got := to.imports(name, ImportOptions{})
		if i := got[tracker]; !errors.Is(i.Err, ErrOlder) || fault.KindOf(i.Err) != fault.Conflict {
			t.Errorf("%+v", i)
		}
		if i := got["descriptions of debian"]; i.Err == nil {
			t.Errorf("%+v", i)
		}
		if diff := cmp.Diff(before, to.says()); diff != "" {
			t.Error(diff)
		}
		if i := to.imports(name, ImportOptions{Force: true})[tracker]; i.Err != nil || i.Delta.Added == 0 || i.Delta.Removed != 1 {
			t.Errorf("%+v", i)
		}
	})
}

// TestBundleIsAppliedLikeADocument holds that an import has the same effects as a run of the source.
func TestBundleIsAppliedLikeADocument(t *testing.T) {
	site := newSite(t)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `%s"CVE-2026-%04d": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}`, strings.Repeat(",", min(i, 1)), i)
		}
		return `{"zlib": {` + b.String() + `}}`
	}
	place := strings.TrimPrefix(tracker, "https://")
	site.put(t, place, many(200))
	from, to := newDesk(t, site.dir), newDesk(t, t.TempDir())
	from.read("debian")
	first, _ := from.export(nil)
	to.imports(first, ImportOptions{})

	site.put(t, place, many(20))
	if _, err := from.Update(t.Context(), []string{"debian"}, Options{AcceptShrink: true}); err != nil {
		t.Fatal(err)
	}
	second, _ := from.export(nil)
	if i := to.imports(second, ImportOptions{})[tracker]; !errors.Is(i.Err, store.ErrHeldBack) {
		t.Errorf("a feed that lost much: %+v", i)
	}
	if st := statusOf(t, to.Store, "debian"); st.State != store.FeedHeld || st.Ranges != 200 || st.Error == "" {
		t.Errorf("%+v", st)
	}
	if i := to.imports(second, ImportOptions{AcceptShrink: true})[tracker]; i.Err != nil || i.Delta.Removed != 180 {
		t.Errorf("%+v", i)
	}
	if diff := cmp.Diff(from.says(), to.says()); diff != "" {
		t.Error(diff)
	}

	t.Run("what could not be read there is seen here", func(t *testing.T) {
		site.put(t, place, `{"zlib": {`)
		if outcomes, err := from.Update(t.Context(), []string{"debian"}, Options{}); err != nil || outcomes[0].Err == nil {
			t.Fatalf("%+v, %v", outcomes, err)
		}
		third, _ := from.export(nil)
		if i := to.imports(third, ImportOptions{})[tracker]; i.Err != nil || !i.Unchanged {
			t.Errorf("%+v", i)
		}
		if st := statusOf(t, to.Store, "debian"); st.State != store.FeedFailed || !strings.Contains(st.Error, "where the bundle was made") {
			t.Errorf("%+v", st)
		}
	})
}

func TestImportFaults(t *testing.T) {
	site := everything(t)
	from := newDesk(t, site.dir)
	from.read()
	name, _ := from.export(nil)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("nothing of a broken bundle is applied", func(t *testing.T) {
		to := newDesk(t, t.TempDir())
		broken := filepath.Join(t.TempDir(), "b.tar.zst")
		if err := os.WriteFile(broken, whole[:len(whole)-200], 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := bundle.Open(broken, bundle.Trust{Unsigned: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if out, err := to.Import(t.Context(), r, ImportOptions{}); fault.KindOf(err) != fault.Corrupt || len(out) > 0 {
			t.Errorf("%+v, %v", out, err)
		}
		if got := to.says(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
	t.Run("broken off, and repeated", func(t *testing.T) {
		to := newDesk(t, t.TempDir())
		r, err := bundle.Open(name, bundle.Trust{Unsigned: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ctx, stop := context.WithCancel(t.Context())
		seen := 0
		_, err = to.Import(ctx, r, ImportOptions{Progress: func(s bundle.Section, _ int64) {
			if seen++; s.Source == "debian" {
				stop() // in the middle of its transaction
			}
		}})
		if err == nil || seen == 0 {
			t.Fatal("it was not broken off")
		}
		want, got := from.says(), to.says()
		if diff := cmp.Diff(want[secdb], got[secdb]); diff != "" {
			t.Errorf("a feed before it: %s", diff)
		}
		if len(got[tracker]) != 0 {
			t.Errorf("half a feed: %v", got[tracker])
		}
		for key, i := range to.imports(name, ImportOptions{}) {
			if i.Err != nil {
				t.Errorf("%s: %v", key, i.Err)
			}
		}
		if diff := cmp.Diff(want, to.says()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("while somebody else runs the source", func(t *testing.T) {
		to := newDesk(t, t.TempDir())
		to.config.Lock = func(ctx context.Context, source string) (context.Context, func(), error) {
			if source == "debian" {
				return nil, nil, ErrBusy
			}
			return ctx, func() {}, nil
		}
		got := to.imports(name, ImportOptions{})
		if !errors.Is(got[tracker].Err, ErrBusy) || got[secdb].Err != nil {
			t.Errorf("%v, %v", got[tracker].Err, got[secdb].Err)
		}
	})
	t.Run("not signed by who is trusted", func(t *testing.T) {
		if _, err := bundle.Open(name, bundle.Trust{Keys: []ed25519.PublicKey{make([]byte, ed25519.PublicKeySize)}}); fault.KindOf(err) != fault.Unauthorized {
			t.Error(err)
		}
	})
}
