package redhat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// site is a mirror of Red Hat's documents that a test changes.
type site struct {
	t   *testing.T
	dir string
	*fetch.Fetcher
	n int64
}

func newSite(t *testing.T) *site {
	dir := t.TempDir()
	s := &site{t: t, dir: filepath.Join(dir, "security.access.redhat.com/data/csaf/v2/vex"), Fetcher: fetch.New(fetch.Config{Mirror: dir})}
	s.put("archive_latest.txt", "csaf_vex_2026-03-31.tar.zst\n")
	s.put("csaf_vex_2026-03-31.tar.zst", string(pack(t)))
	s.put("changes.csv", `"2024/cve-2024-90001.json","2026-03-29T00:00:00+00:00"`+"\n")
	return s
}

// put writes a file, later than any before, so that it has changed although its size has not.
func (s *site) put(name, text string) {
	s.t.Helper()
	name = filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.n++
	if err := os.Chtimes(name, time.Time{}, time.Unix(s.n, 0)); err != nil {
		s.t.Fatal(err)
	}
}

// outcome is a step with its records read.
type outcome struct {
	Whole, More bool
	Records     string // "CVE-2024-90001 15" by identifier and number of ranges, "bad …"
	Archive     string
	Cursor      string
	Caught      bool // all changes were read
}

// step takes the next step and returns it with the state.
func (s *site) step(state string) (outcome, string) {
	s.t.Helper()
	step, err := Next(s.t.Context(), s, state, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := step.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	var lines []string
	if step.Records != nil {
		for r, err := range step.Records {
			var bad *advisory.BadRecord
			switch {
			case errors.As(err, &bad):
				line := "bad " + bad.Subject
				if bad.ID != "" {
					line += " keeps " + bad.ID
				}
				lines = append(lines, line)
			case err != nil:
				s.t.Fatal(err)
			default:
				lines = append(lines, fmt.Sprintf("%s %d", r.ID, len(r.Affected)))
			}
		}
	}
	now, _ := parseState(step.State)
	return outcome{step.Whole, step.More, strings.Join(lines, ", "), now.Archive, now.Cursor.Format(time.RFC3339), now.Changes != ""}, step.State
}

// TestNext follows the documents for two months.
func TestNext(t *testing.T) {
	s := newSite(t)
	const allBad = "bad CVE-2026-90005/b@, bad CVE-2026-90005/cursed, bad CVE-2026-90005/d, bad CVE-2026-90005/e, bad CVE-2026-90005/nameless, " +
		"bad CVE-2026-90005/nowhere:a, bad CVE-2026-90005/score, bad CVE-2026-90005/versionless, CVE-2026-90005 3"
	const march, april, may = "csaf_vex_2026-03-31.tar.zst", "csaf_vex_2026-04-05.tar.zst", "csaf_vex_2026-05-03.tar.zst"
	state := ""
	for _, c := range []struct {
		name    string
		prepare func()
		want    outcome
	}{
		{"the archive comes first", func() {}, outcome{
			Whole: true, More: true, Archive: march, Cursor: "2026-03-30T00:00:00Z",
			Records: "CVE-2023-90002 3, CVE-2024-90001 15, CVE-2026-90003 7, CVE-2026-90004 0, " + allBad + ", bad 2026/cve-2026-90006.json keeps CVE-2026-90006",
		}},
		{"nothing changed since it was made", func() {}, outcome{Archive: march, Cursor: "2026-03-30T00:00:00Z", Caught: true}},
		{"nothing changed", func() {}, outcome{Archive: march, Cursor: "2026-03-30T00:00:00Z", Caught: true}},
		{"changes and deletions", func() {
			s.put("changes.csv", `"2026/cve-2026-90003.json","2026-04-01T10:00:00+00:00"`+"\n"+`"2023/cve-2023-90002.json","2026-04-01T09:00:00+00:00"`+"\n"+
				"not a line\n"+`"2024/cve-2024-90001.json","2026-03-29T00:00:00+00:00"`+"\n"+`"2020/cve-2020-99999.json","2026-04-01T11:00:00+00:00"`+"\n")
			s.put("deletions.csv", `"2024/cve-2024-90001.json","2026-04-01T09:30:00+00:00"`+"\n"+`"2023/cve-2023-90002.json","2026-04-01T08:00:00+00:00"`+"\n")
			s.put("2023/cve-2023-90002.json", readFile(t, "testdata/vex/2023/cve-2023-90002.json"))
			s.put("2026/cve-2026-90003.json", strings.ReplaceAll(readFile(t, "testdata/vex/2026/cve-2026-90003.json"), "rhel_els:7", "rhel_eus:7.7"))
		}, outcome{
			Archive: march, Cursor: "2026-04-01T11:00:00Z", Caught: true,
			Records: "bad changes.csv line 3, CVE-2023-90002 3, CVE-2024-90001 0, CVE-2026-90003 6, bad 2020/cve-2020-99999.json keeps CVE-2020-99999",
		}},
		{"the list is new and says nothing new", func() {
			s.put("changes.csv", `"2026/cve-2026-90003.json","2026-04-01T10:00:00+00:00"`+"\n")
		}, outcome{Archive: march, Cursor: "2026-04-01T11:00:00Z", Caught: true}},
		{"a newer archive is left alone while the changes tell", func() {
			s.put("archive_latest.txt", april)
			s.put(april, string(pack(t)))
		}, outcome{Archive: march, Cursor: "2026-04-01T11:00:00Z", Caught: true}},
		{"a month later the archive is read again, without what changed since it was made", func() {
			s.put("archive_latest.txt", may)
			s.put(may, string(pack(t, "2024/cve-2024-90001.json", "2026/cve-2026-90005.json")))
			s.put("changes.csv", `"2026/cve-2026-90003.json","2026-05-02T00:00:01+00:00"`+"\n"+`"2023/cve-2023-90002.json","2026-05-01T09:00:00+00:00"`+"\n")
		}, outcome{
			More: true, Archive: may, Cursor: "2026-05-02T00:00:00Z",
			Records: "CVE-2023-90002 3, CVE-2026-90004 0, bad 2026/cve-2026-90006.json keeps CVE-2026-90006",
		}},
		{"and then what changed since", func() {}, outcome{Archive: may, Cursor: "2026-05-02T00:00:01Z", Caught: true, Records: "CVE-2026-90003 6"}},
		{"another version of the program reads it again", func() {
			state = strings.Replace(state, `"format":1`, `"format":0`, 1)
		}, outcome{
			More: true, Archive: may, Cursor: "2026-05-02T00:00:00Z",
			Records: "CVE-2023-90002 3, CVE-2026-90004 0, bad 2026/cve-2026-90006.json keeps CVE-2026-90006",
		}},
		{"a state that is not understood is none", func() {
			state = "etag \"17\""
			s.put(may, string(pack(t, "2024/cve-2024-90001.json", "2026/cve-2026-90005.json", "2026/cve-2026-90006.json", "2023/cve-2023-90002.json")))
		}, outcome{Whole: true, More: true, Archive: may, Cursor: "2026-05-02T00:00:00Z", Records: "CVE-2026-90003 7, CVE-2026-90004 0"}},
	} {
		c.prepare()
		var got outcome
		got, state = s.step(state)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNextBatches takes more changes than one step does.
func TestNextBatches(t *testing.T) {
	s := newSite(t)
	var list strings.Builder
	for n := range 2*batchSize + 10 {
		fmt.Fprintf(&list, "\"2026/cve-2026-%d.json\",\"%s\"\n", 10_000+n, time.Date(2026, 4, 1, 0, 0, 2*batchSize-n, 0, time.UTC).Format(time.RFC3339))
	}
	s.put("changes.csv", list.String())
	state := state{Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC)}.String()
	for i, want := range []outcome{
		{More: true, Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: "2026-04-01T00:16:30Z"},
		{More: true, Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: "2026-04-01T00:33:10Z"},
		{More: false, Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: "2026-04-01T00:33:20Z", Caught: true},
		{More: false, Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: "2026-04-01T00:33:20Z", Caught: true},
	} {
		var got outcome
		got, state = s.step(state)
		n := strings.Count(got.Records, "bad 2026/")
		if wantN := []int{1000, 1000, 10, 0}[i]; n != wantN {
			t.Errorf("step %d: %d documents, want %d", i, n, wantN)
		}
		got.Records = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestNextBulk reads a newer archive rather than very many documents.
func TestNextBulk(t *testing.T) {
	s := newSite(t)
	var list strings.Builder
	for n := range bulk + 1 {
		fmt.Fprintf(&list, "\"2026/cve-2026-%d.json\",\"2026-04-01T00:00:00Z\"\n", 10_000+n)
	}
	s.put("changes.csv", list.String())
	s.put("archive_latest.txt", "csaf_vex_2026-04-05.tar.zst")
	s.put("csaf_vex_2026-04-05.tar.zst", string(pack(t, "2026/cve-2026-90005.json")))
	got, _ := s.step(state{Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: time.Date(2026, 3, 30, 0, 0, 0, 0, time.UTC)}.String())
	want := outcome{
		More: true, Archive: "csaf_vex_2026-04-05.tar.zst", Cursor: "2026-04-04T00:00:00Z",
		Records: "CVE-2023-90002 3, CVE-2024-90001 15, CVE-2026-90003 7, CVE-2026-90004 0, bad 2026/cve-2026-90006.json keeps CVE-2026-90006",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNextReal follows the real documents, of which the mirror has the archive and the lists alone.
func TestNextReal(t *testing.T) {
	file := realdata.Open(t, "feeds/"+realArchive)
	mirror := strings.TrimSuffix(file.Name(), filepath.FromSlash(realArchive))
	s := &site{t: t, Fetcher: fetch.New(fetch.Config{Mirror: mirror})}
	got, state := s.step("")
	if n := strings.Count(got.Records, "CVE-"); n != 52 || !got.Whole || !got.More {
		t.Errorf("the archive: %d records, %+v", n, got)
	}
	got, state = s.step(state)
	if n := strings.Count(got.Records, "keeps CVE-"); n != 6 || n != strings.Count(got.Records, "bad ") || got.Whole || got.More || !got.Caught {
		t.Errorf("the changes: %d documents that are not there, %+v", n, got)
	}
	want := got
	want.Records = ""
	if got, _ = s.step(state); got != want {
		t.Errorf("nothing changed: %+v", got)
	}
}

// failingGetter fails for one address.
type failingGetter struct {
	Getter
	suffix string
	kind   fault.Kind
}

func (f failingGetter) Get(ctx context.Context, address, validator string, progress func(int64, int64)) (*fetch.Document, error) {
	if strings.HasSuffix(address, f.suffix) {
		return nil, fault.Newf(f.kind, "fetch", address, "told to fail")
	}
	return f.Getter.Get(ctx, address, validator, progress)
}

func TestNextFails(t *testing.T) {
	known := state{Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}.String()
	for _, c := range []struct {
		name, state string
		broken      string // the address that cannot be had
		file, text  string // the file that is broken
		kind        fault.Kind
	}{
		{"no server", "", "archive_latest.txt", "", "", fault.Unavailable},
		{"an error page for a name", "", "-", "archive_latest.txt", "<html>", fault.Corrupt},
		{"a path for a name", "", "-", "archive_latest.txt", "csaf_vex_../../../etc.tar.zst", fault.Corrupt},
		{"a name without end", "", "-", "archive_latest.txt", strings.Repeat("a", 5000), fault.TooLarge},
		{"no archive", "", ".tar.zst", "", "", fault.Unavailable},
		{"no list", known, "changes.csv", "", "", fault.Unavailable},
		{"an error page for a list", known, "-", "changes.csv", "<html>\n<body>\n", fault.Corrupt},
		{"an error page for a list of deletions", known, "-", "deletions.csv", "<html>\n<body>\n", fault.Corrupt},
		{"no list of deletions", known, "deletions.csv", "", "", fault.Unavailable},
		{"a line without end", known, "-", "changes.csv", strings.Repeat("a", maxLineBytes+1), fault.Corrupt},
		{"half of it broken", known, "-", "changes.csv", strings.Repeat("?\n", maxBadLines+1) + `"2024/cve-2024-90001.json","2026-03-29T00:00:00+00:00"`, fault.Corrupt},
		{"no document", known, "cve-2024-90001.json", "", "", fault.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			if c.file != "" {
				s.put(c.file, c.text)
			}
			step, err := Next(t.Context(), failingGetter{s, c.broken, fault.Unavailable}, c.state, nil, nil)
			if err == nil {
				for _, e := range step.Records {
					err = e
				}
				if err := step.Close(); err != nil {
					t.Error(err)
				}
			}
			if fault.KindOf(err) != c.kind {
				t.Errorf("got %v, want a fault of kind %s", err, c.kind)
			}
		})
	}
}

// TestBatch holds batches against what reading all changes in one go comes to.
func TestBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) change {
			return change{
				path: fmt.Sprintf("2026/cve-2026-%d.json", rapid.IntRange(1000, 1009).Draw(t, "document")),
				at:   time.Unix(int64(rapid.IntRange(1, 30).Draw(t, "time")), 0),
				gone: rapid.Bool().Draw(t, "gone"),
			}
		})).Draw(t, "changes")
		most := rapid.IntRange(1, 8).Draw(t, "most")
		want := make(map[string]bool) // whether it is gone in the end
		latest := make(map[string]time.Time)
		for _, c := range changes {
			if c.at.After(latest[c.path]) {
				latest[c.path], want[c.path] = c.at, c.gone
			} else if c.at.Equal(latest[c.path]) {
				want[c.path] = want[c.path] && c.gone
			}
		}
		got := make(map[string]bool)
		cursor := time.Unix(0, 0)
		for all := false; !all; {
			var left []change
			for _, c := range changes {
				if c.at.After(cursor) {
					left = append(left, c)
				}
			}
			next, until, done := batch(left, most)
			for _, c := range next {
				got[c.path] = c.gone
			}
			if all = done; !all && !until.After(cursor) {
				t.Fatal("a batch does not get on")
			}
			cursor = until
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestState(t *testing.T) {
	s := state{Format: stateFormat, Archive: "csaf_vex_2026-03-31.tar.zst", Cursor: time.Date(2026, 4, 1, 2, 3, 4, 0, time.UTC), Changes: "etag \"1\""}
	const text = `{"format":1,"archive":"csaf_vex_2026-03-31.tar.zst","cursor":"2026-04-01T02:03:04Z","changes":"etag \"1\""}`
	if s.String() != text {
		t.Errorf("stored as %s, want %s", s, text)
	}
	if got, known := parseState(text); got != s || !known {
		t.Errorf("read as %+v, %t", got, known)
	}
}
