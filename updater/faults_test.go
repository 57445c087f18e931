package updater

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/debian"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// trackerBzip2 is debian/testdata/tracker.json, compressed by bzip2: Go has no writer of it.
const trackerBzip2 = "QlpoOTFBWSZTWeZDNe8ABJvfgFwQUH//8DoCRRq/79/6UAN+9vU553d3r23Y0ElNBTEmRo9TZTMoANA00ZHigAkkaajRTNINpAAAAAAAEiSNNU2UMgA0GTT1DIyAAAIokZTCKfpqn6UaAAABppoBpkEiU01I8KbU9R6jQGjQGgaNNAAUgljaR+lrYv4HCY2oCCGwbB6aAkhFxRTwgFYYGhIMjAkJCkKxP0+fPAavdfhDY10f13s0ueWibCM3yY8To5KYwuJ2upoodOJBSF2W5t0PwoVkqNMH023wOWOu1Iawsoz6JxvDnZxojINTt5KDgGTaX9+GebRCxpJGZn8MN8tzTvGNxikZEG2m4yGZttv2iCpwyMwMSCUA1AKCJNJOSEcNLMDi+I668eHFtQSOW3gpgnQvRY2jhgRAwaSGzLq0CxVC80HjCu5u3qw493cd6CwFrjTZ85q75QaEmKHiG3gwgVEvslATzi2WGaBUnXQJhlOEHlCyPdcWIGQTbP5vl9IjC4h3GYbnpX06KXUnV32xSFmEkh0FzWTQe6C/ler3HAgrqfsVon2islrIJu4OzWpJEXy1SAIqs82rE5RcI75QBlmTqdCK7iGrElRBMahi9lOY1LKgulMKaheVVdxVmNOovgM+1dXSA1gF/4le7H6LQEaLIAtpLAyi7Elq1ikIpatK2WpMYHmIYbYO4DWJvTasRmPKsVE48o3IXq33RjaYZ7HNvN1jUtl8ZDHFXNTWzDo0qTrGFKpsXjcmw5AgJy+v7GonHJDgsFRUIy2rLGqsDTkXJ14phyKbLhiuOS6CWDQsEb7uqSwWJMppQZBpIBbN75STupVSYpWc7AiTWUfVvWYT5YEaiWxcQwGOd8sghlopF7sRviKcSyNHE5lGGO4C07QG+ucOqUnXazluLBHd62cAM4B4Z2xViapowJTSZWHSZ4HEuwwVqLvHIloZ7gOKaoVNjEc0wWwRq1VxbybF9LtZjGC/BmVYrDO6e+1nehkB70OUokuXmZzG9sLJItDAMrK7K5Z1d9NFy5DhI2OwSTIbs+4r20tfwmIU64Uf4FA6i66f09k3rcQNzD/xdyRThQkOZDNe8A=="

// patient is a server of one document that a test makes ill.
type patient struct {
	mu     sync.Mutex
	serve  http.HandlerFunc
	asked  []http.Header // of the requests
	server *httptest.Server
}

func newPatient(t *testing.T) *patient {
	p := new(patient)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		serve := p.serve
		p.asked = append(p.asked, r.Header)
		p.mu.Unlock()
		if strings.HasSuffix(r.URL.Path, ".gz") || strings.HasSuffix(r.URL.Path, ".zst") {
			http.NotFound(w, r) // a mirror is asked for these too
			return
		}
		serve(w, r)
	}))
	t.Cleanup(p.server.Close)
	return p
}

// becomes sets what the server does from now on.
func (p *patient) becomes(serve http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve, p.asked = serve, nil
}

// has serves a document as a version of it.
func has(version string, document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", version)
		if r.Header.Get("If-None-Match") == version {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(document)
	}
}

func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// flood is a document that begins in some way and goes on with n mebibytes of one byte, as a few kilobytes of gzip.
func flood(t *testing.T, begin string, of byte, n int) http.HandlerFunc {
	head, member := gzipped(t, []byte(begin)), gzipped(t, bytes.Repeat([]byte{of}, 1<<20))
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(head)
		for range n {
			if _, err := w.Write(member); err != nil {
				return
			}
		}
	}
}

// TestFaultsOfUpstream makes the server of a source ill in many ways. In each of them what was read before stays, the
// failure is seen, and when the server is well again its news are read.
func TestFaultsOfUpstream(t *testing.T) {
	debian, rocky := fixture(t, "debian/testdata/tracker.json"), fixture(t, "rocky/testdata/rlsa.xml")
	zipped := gzipped(t, debian)
	bzipped, err := base64.StdEncoding.DecodeString(trackerBzip2)
	if err != nil {
		t.Fatal(err)
	}
	const gib = 1 << 10 // of mebibytes
	for _, c := range []struct {
		title  string
		source string
		ill    http.HandlerFunc
		kind   fault.Kind
		says   string
	}{
		{"dies in the middle", "debian", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", "new")
			w.Header().Set("Content-Length", fmt.Sprint(len(debian)))
			_, _ = w.Write(debian[:len(debian)/2])
			panic(http.ErrAbortHandler)
		}, fault.Unavailable, "EOF"},
		{"dies in the middle of chunks", "debian", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", "new")
			_, _ = w.Write(debian[:len(debian)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, fault.Unavailable, "unexpected EOF"},
		{"truncated gzip", "debian", has("new", zipped[:len(zipped)-10]), fault.Corrupt, "unexpected EOF"},
		{"gzip with a wrong checksum", "debian", has("new", append(zipped[:len(zipped)-8:len(zipped)-8], 1, 2, 3, 4, 5, 6, 7, 8)), fault.Corrupt, "checksum"},
		{"truncated bzip2", "debian", has("new", bzipped[:len(bzipped)-10]), fault.Corrupt, "unexpected EOF"},
		{"nothing", "debian", has("new", nil), fault.Corrupt, "unexpected EOF"},
		{"a page instead", "debian", has("new", []byte("<html>Try later.</html>")), fault.Corrupt, "invalid character"},
		{"malformed JSON in the middle", "debian", has("new", bytes.Replace(debian, []byte(`"urgency"`), []byte(`"urgency`), 1)), fault.Corrupt, "invalid character"},
		{"malformed XML in the middle", "rocky", has("new", bytes.Replace(rocky, []byte("</metadata>"), []byte("</metadat>"), 1)), fault.Corrupt, "metadat"},
		{"XML that was cut off", "rocky", has("new", rocky[:len(rocky)/2]), fault.Corrupt, "EOF"},
		{"an entity bomb", "rocky", has("new", []byte(`<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><oval_definitions>&b;</oval_definitions>`)),
			fault.Corrupt, "document type declarations are refused"},
		{"403", "debian", answers(http.StatusForbidden), fault.Unauthorized, "403"},
		{"404", "debian", answers(http.StatusNotFound), fault.NotFound, "404"},
		{"500", "debian", answers(http.StatusInternalServerError), fault.Unavailable, "500"},
		{"a 5 GB string", "debian", flood(t, `{"zlib": {"CVE-2026-0001": {"description": "`, 'x', 5*gib), fault.Corrupt, "size of a value"},
		{"5 GB of white space", "debian", flood(t, `{"zlib": `, ' ', 5*gib), fault.Corrupt, "size of a value"},
		{"5 GB of zeros", "debian", flood(t, "", 0, 5*gib), fault.Corrupt, "invalid character"},
		{"5 GB of XML text", "rocky", flood(t, "<oval_definitions>", 'x', 5*gib), fault.TooLarge, "bytes"},
		{"an unbounded list of bytes", "debian", func(w http.ResponseWriter, _ *http.Request) {
			for n := 0; n < 5*gib; n++ {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, fault.TooLarge, "size of the document"},
		{"a document that says that it has 5 GB", "debian", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(5<<30))
		}, fault.TooLarge, "size of the document"},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			p, s, spool := newPatient(t), clustertest.Store(t), t.TempDir()
			u := newUpdater(t, Config{Store: s, Sources: []string{c.source}, Fetch: fetch.New(fetch.Config{
				Mirror: p.server.URL, SpoolDir: spool, MaxBytes: 64 << 20,
			})})
			well := debian
			if c.source == "rocky" {
				well = rocky
			}
			run := func() Outcome {
				outcomes, err := u.Update(t.Context(), nil, Options{})
				if err != nil {
					t.Fatal(err)
				}
				return outcomes[0]
			}
			p.becomes(has("old", well))
			if o := run(); o.Err != nil {
				t.Fatal(o.Err)
			}
			before := feedsIn(t, s, c.source)
			p.becomes(c.ill)
			o := run()
			if fault.KindOf(o.Err) != c.kind || !strings.Contains(o.Err.Error(), c.says) {
				t.Errorf("%v (%v), want %v with %q", fault.KindOf(o.Err), o.Err, c.kind, c.says)
			}
			for url, f := range feedsIn(t, s, c.source) {
				b := before[url]
				if f.State != store.FeedFailed || f.Error == "" || f.Failures != 1 {
					t.Errorf("the failure is not seen: %+v", f)
				}
				if f.Validator != b.Validator || !bytes.Equal(f.Checksum, b.Checksum) || f.Ranges != b.Ranges || !f.Checked.Equal(b.Checked) || !f.Changed.Equal(b.Changed) {
					t.Errorf("the state went on:\n%+v\n%+v", b, f)
				}
			}
			if st := statusOf(t, s, c.source); st.State != store.FeedFailed || st.Error == "" || st.Ranges == 0 {
				t.Errorf("feeds list says %+v", st)
			}
			if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
				t.Errorf("left in the spool: %v, %v", left, err)
			}
			p.becomes(has("new", append(bytes.TrimRight(well, "\n"), "\n\n"...)))
			if o := run(); o.Err != nil || o.Unchanged != 0 {
				t.Errorf("when it is well again: %+v", o)
			}
			if st := statusOf(t, s, c.source); st.State != store.FeedCurrent || st.Error != "" {
				t.Errorf("feeds list says %+v", st)
			}
		})
	}
}

func feedsIn(t *testing.T, s *store.Store, source string) map[string]store.Feed {
	t.Helper()
	feeds, err := s.Feeds(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	return feeds
}

// TestFloodIsBounded holds that the memory for a document does not depend on its size.
func TestFloodIsBounded(t *testing.T) {
	p := newPatient(t)
	p.becomes(flood(t, `{"zlib": {"CVE-2026-0001": {"description": "`, 'x', 1<<10))
	document, err := fetch.New(fetch.Config{Mirror: p.server.URL, SpoolDir: t.TempDir()}).Get(t.Context(), tracker, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer document.Close()
	r, err := document.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, err = range debian.Parse(r) {
		if err != nil {
			break
		}
	}
	runtime.ReadMemStats(&after)
	if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || grown > 400 {
		t.Errorf("%d MiB were allocated for a gibibyte, %v", grown, err)
	}
	p.becomes(flood(t, "", ' ', 64))
	document, err = fetch.New(fetch.Config{Mirror: p.server.URL, SpoolDir: t.TempDir(), MaxInflatedBytes: 1 << 20}).Get(t.Context(), tracker, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer document.Close()
	if r, err = document.Open(nil); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); fault.KindOf(err) != fault.TooLarge || n > 2<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestConditionalRequests holds what is asked and believed of times and tags.
func TestConditionalRequests(t *testing.T) {
	p, s := newPatient(t), clustertest.Store(t)
	u := newUpdater(t, Config{Store: s, Sources: []string{"debian"}, Fetch: fetch.New(fetch.Config{Mirror: p.server.URL})})
	run := func() Outcome {
		t.Helper()
		outcomes, err := u.Update(t.Context(), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return outcomes[0]
	}
	p.becomes(answers(http.StatusNotModified))
	if o := run(); fault.KindOf(o.Err) != fault.Unavailable || statusOf(t, s, "debian").State != store.FeedFailed {
		t.Errorf("not modified, though nothing was ever read: %+v", o)
	}
	// A server whose clock is a day ahead. Its times are its own: they go back as they came.
	debian := fixture(t, "debian/testdata/tracker.json")
	ahead := time.Now().Add(24 * time.Hour).UTC()
	dated := func(document []byte, modified time.Time) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", modified, bytes.NewReader(document))
		}
	}
	p.becomes(dated(debian, ahead))
	if o := run(); o.Err != nil || o.Unchanged != 0 {
		t.Fatalf("%+v", o)
	}
	first := statusOf(t, s, "debian")
	if first.Checked.After(time.Now()) || first.Updated.After(time.Now()) {
		t.Errorf("the server's time was believed: %+v", first)
	}
	p.becomes(dated(debian, ahead))
	if o := run(); o.Err != nil || o.Unchanged != 1 {
		t.Errorf("%+v", o)
	}
	if got := p.asked[0].Get("If-Modified-Since"); got != ahead.Format(http.TimeFormat) {
		t.Errorf("asked with %q", got)
	}
	// A server that was set back: what it has now is older by its clock, and other content.
	p.becomes(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", ahead.Add(-48*time.Hour).Format(http.TimeFormat))
		_, _ = w.Write(append(debian, '\n'))
	})
	if o := run(); o.Err != nil || o.Unchanged != 0 {
		t.Errorf("%+v", o)
	}
	// A bad record does not stop the others, and is named.
	p.becomes(has("bad", bytes.Replace(debian, []byte(`"releases": {`), []byte(`"releases": "none", "other": {`), 1)))
	o := run()
	if o.Err != nil || o.Delta.Bad == 0 || len(o.Delta.BadNamed) == 0 || statusOf(t, s, "debian").Ranges == 0 {
		t.Errorf("%+v", o)
	}
}

// TestTwoUpdaters runs a source in two processes at once.
func TestTwoUpdaters(t *testing.T) {
	s := clustertest.Store(t)
	debian := fixture(t, "debian/testdata/tracker.json")
	var mu sync.Mutex
	held := make(map[string]bool)
	exclusive := func(ctx context.Context, source string) (context.Context, func(), error) {
		mu.Lock()
		defer mu.Unlock()
		if held[source] {
			return nil, nil, fault.New(fault.Conflict, "lock", source, ErrBusy)
		}
		held[source] = true
		return ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			delete(held, source)
		}, nil
	}
	for title, lock := range map[string]Locker{"with a lock": exclusive, "without": nil} {
		t.Run(title, func(t *testing.T) {
			p := newPatient(t)
			under, goOn := make(chan struct{}, 2), make(chan struct{})
			p.becomes(func(w http.ResponseWriter, _ *http.Request) {
				under <- struct{}{}
				<-goOn
				_, _ = w.Write(debian)
			})
			outcomes := make(chan Outcome, 2)
			start := func() {
				u := newUpdater(t, Config{Store: s, Sources: []string{"debian"}, Lock: lock, Fetch: fetch.New(fetch.Config{Mirror: p.server.URL})})
				go func() {
					list, err := u.Update(context.WithoutCancel(t.Context()), nil, Options{})
					if err != nil {
						list = []Outcome{{Err: err}}
					}
					outcomes <- list[0]
				}()
			}
			start()
			<-under // the first has the lock
			start()
			if lock != nil {
				if o := <-outcomes; !errors.Is(o.Err, ErrBusy) || o.Documents != 0 {
					t.Errorf("the second: %+v", o)
				}
				close(goOn)
				if o := <-outcomes; o.Err != nil {
					t.Errorf("the first: %+v", o)
				}
			} else {
				<-under
				close(goOn)
				for range 2 {
					if o := <-outcomes; o.Err != nil {
						t.Error(o.Err)
					}
				}
			}
			if st := statusOf(t, s, "debian"); st.State != store.FeedCurrent || st.Ranges != 15 || st.Records != 8 {
				t.Errorf("%+v", st)
			}
		})
	}
}
