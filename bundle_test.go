package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// site is a data directory that commands are run on, each a process of its own.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T) site {
	t.Helper()
	dir := t.TempDir()
	if err := letPass(dir); err != nil {
		t.Fatal(err)
	}
	return site{t, filepath.Join(dir, "data")}
}

func (p site) command(args ...string) *exec.Cmd {
	return exec.Command("trawl", append(args, "--data-dir", p.dir)...)
}

func (p site) run(args ...string) []byte {
	p.t.Helper()
	command := p.command(args...)
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		p.t.Fatalf("trawl %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// ranges returns how many ranges each source has.
func (p site) ranges() map[string]int {
	p.t.Helper()
	var list []struct {
		Name   string
		Ranges int
	}
	if err := json.Unmarshal(p.run("feeds", "list", "-o", "json"), &list); err != nil {
		p.t.Fatal(err)
	}
	out := make(map[string]int)
	for _, s := range list {
		if s.Ranges > 0 {
			out[s.Name] = s.Ranges
		}
	}
	return out
}

// killed runs a command and kills it after a time. It reports whether it was done before.
func (p site) killed(after time.Duration, args ...string) (done bool) {
	p.t.Helper()
	command := p.command(args...)
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-ended:
		return err == nil
	case <-time.After(after):
		_ = command.Process.Kill() // it may just have ended
		<-ended
		return false
	}
}

// TestKillImport kills an import at any moment: each feed is as it was before, or as the bundle has it.
func TestKillImport(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	mirror := t.TempDir()
	write := func(entries int) {
		for place, text := range map[string][]byte{
			trackerPath: tracker(entries),
			"/secdb.alpinelinux.org/v3.20/main.json": fmt.Appendf(nil,
				`{"packages": [{"pkg": {"name": "zlib", "secfixes": {"1.%d": ["CVE-2024-0001"]}}}, {"pkg": {"name": "perl", "secfixes": {%s}}}]}`,
				entries, secfixes(entries)),
		} {
			name := filepath.Join(mirror, filepath.FromSlash(place))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	from, to := newSite(t), newSite(t)
	bundle := filepath.Join(t.TempDir(), "b.tar.zst")
	const few, many = 200, 10_000
	write(few)
	from.run("update", "debian", "alpine", "--mirror", mirror)
	from.run("feeds", "export", bundle)
	to.run("feeds", "import", bundle, "--insecure-unsigned")
	before := to.ranges()
	write(many)
	from.run("update", "debian", "alpine", "--mirror", mirror)
	from.run("feeds", "export", bundle)
	after := from.ranges()
	for range setting(t, "TRAWL_TEST_KILLS", 4) {
		pause := time.Duration(200+random.IntN(900)) * time.Millisecond
		done := to.killed(pause, "feeds", "import", bundle, "--insecure-unsigned", "-q")
		now := to.ranges()
		t.Logf("killed after %s: %v", pause, now)
		for name, n := range now {
			if n != before[name] && n != after[name] {
				t.Errorf("%s has %d ranges: neither the %d of before nor the %d of after", name, n, before[name], after[name])
			}
		}
		if done {
			break
		}
	}
	to.run("feeds", "import", bundle, "--insecure-unsigned")
	if diff := cmp.Diff(after, to.ranges()); diff != "" {
		t.Error(diff)
	}
	checkTables(t, to.dir)
}

func secfixes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%s"1.%d": ["CVE-2024-%05d"]`, strings.Repeat(",", min(i, 1)), i, i)
	}
	return b.String()
}

// TestKillMirror kills the filling of a mirror at any moment: a document is there whole, or is not, and the next run goes
// on.
func TestKillMirror(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	document := tracker(20_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != trackerPath {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", "one")
		if r.Header.Get("If-None-Match") == "one" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		for rest := document; len(rest) > 0; { // not at once
			n := min(len(rest), 64<<10)
			if _, err := w.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}))
	t.Cleanup(server.Close)
	p, dir := newSite(t), filepath.Join(t.TempDir(), "mirror")
	file := filepath.Join(dir, filepath.FromSlash(trackerPath))
	for range setting(t, "TRAWL_TEST_KILLS", 4) {
		done := p.killed(time.Duration(50+random.IntN(300))*time.Millisecond, "feeds", "mirror", dir, "debian", "--mirror", server.URL, "-q")
		if got, err := os.ReadFile(file); err == nil && string(got) != string(document) {
			t.Fatalf("half a document is there: %d of %d bytes", len(got), len(document))
		}
		if done {
			break
		}
	}
	p.run("feeds", "mirror", dir, "debian", "--mirror", server.URL)
	if got, err := os.ReadFile(file); err != nil || string(got) != string(document) {
		t.Errorf("%d of %d bytes, %v", len(got), len(document), err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, ".trawl-mirror", "spool")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	var again []struct{ Fetched int }
	if err := json.Unmarshal(p.run("feeds", "mirror", dir, "debian", "--mirror", server.URL, "-o", "json"), &again); err != nil || again[0].Fetched != 0 {
		t.Errorf("%+v, %v", again, err)
	}
}
