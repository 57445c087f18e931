package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/embedded"
	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// These tests kill servers, processes of their own, with SIGKILL, start them again on the same data directory, and hold
// that nothing is lost. Their numbers come from a seed that is printed; TRAWL_TEST_SEED repeats a run, and
// TRAWL_TEST_KILLS makes it longer.

// setting returns a number from the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := setting(t, "TRAWL_TEST_SEED", int(time.Now().UnixNano()%1_000_000))
	t.Logf("TRAWL_TEST_SEED=%d repeats this run", seed)
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

// server is "trawl serve" on a data directory.
type server struct {
	t      *testing.T
	dir    string
	url    string
	flags  []string
	client *client.Client
	cmd    *exec.Cmd
	said   bytes.Buffer // by the last process
}

func newServer(t *testing.T, mirror string) *server {
	t.Helper()
	dir := t.TempDir()
	if err := letPass(dir); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: filepath.Join(dir, "data"), url: "http://" + freeAddress(t)}
	s.flags = []string{
		"serve", "--data-dir", s.dir, "--listen", strings.TrimPrefix(s.url, "http://"), "--introspection", "", "--log-format", "text",
		"--mirror", mirror, "--sources", "debian", "--layers", "4",
	}
	var err error
	if s.client, err = client.New(s.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.stop() // in order: what still writes stands in the way of removing the directory
		}
		if t.Failed() {
			t.Logf("the last process said:\n%s", &s.said)
		}
	})
	return s
}

// freeAddress returns an address that stays free: its port is below those that connections are given (ip(7),
// ip_local_port_range).
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (s *server) start() {
	s.t.Helper()
	s.said.Reset()
	s.cmd = exec.Command("trawl", s.flags...)
	s.cmd.Stderr = &s.said
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// kill kills the process. What it started below it ends by itself or is found by the next.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()
	s.cmd = nil
}

// stop stops the process in order.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("a server that was told to stop: %v", err)
	}
	s.cmd = nil
}

// awaitReady waits until the server answers.
func (s *server) awaitReady() {
	s.t.Helper()
	clustertest.Eventually(s.t, "the server answers", func() bool {
		_, err := s.client.Status(s.t.Context())
		return err == nil
	})
}

// target is something to scan: a reference, or an archive to upload.
type target struct {
	name      string
	reference string
	archive   []byte
}

// submit submits a target and returns the submission's id. A server that is not there is an error, and so is one that
// went away: then the target may be submitted or not.
func (s *server) submit(ctx context.Context, target target) (string, error) {
	if target.archive != nil {
		sub, err := s.client.Upload(ctx, bytes.NewReader(target.archive), target.name, nil)
		if err != nil {
			return "", err
		}
		return sub.ID, nil
	}
	body, err := json.Marshal(api.NewSubmission{Target: target.reference})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/submissions", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", target.name)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var sub api.Submission
	if err := json.NewDecoder(response.Body).Decode(&sub); err != nil {
		return "", err
	}
	if sub.ID == "" {
		return "", errors.New(response.Status)
	}
	return sub.ID, nil
}

// submitAll submits what is not in done yet, until ctx is done, and notes the ids there.
func (s *server) submitAll(ctx context.Context, targets []target, done map[string]string) {
	for _, target := range targets {
		for done[target.name] == "" && ctx.Err() == nil {
			id, err := s.submit(ctx, target)
			if err == nil {
				done[target.name] = id
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// results waits until all submissions are done, and returns the reports by the names of the targets.
func (s *server) results(ids map[string]string) map[string]*report.Report {
	s.t.Helper()
	out := make(map[string]*report.Report)
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		var sub api.Submission
		clustertest.Eventually(s.t, name+" is done", func() bool {
			response, err := http.Get(s.url + "/api/v1/submissions/" + ids[name] + "?wait=5")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			return json.NewDecoder(response.Body).Decode(&sub) == nil && sub.Done()
		})
		if sub.State != api.StateComplete || len(sub.Images) != 1 {
			s.t.Fatalf("%s: %+v %+v", name, sub, sub.Problem)
		}
		r, err := s.client.Report(s.t.Context(), sub.Images[0].Digest, name)
		if err != nil {
			s.t.Fatal(err)
		}
		out[name] = timeless(r)
	}
	return out
}

// timeless returns a report without what depends on when it was made.
func timeless(r *report.Report) *report.Report {
	r.Generated = time.Time{}
	for i := range r.Coverage.Sources {
		r.Coverage.Sources[i].Updated, r.Coverage.Sources[i].Checked = nil, nil
	}
	return r
}

// awaitAdvisories waits until the server has read its source.
func (s *server) awaitAdvisories() api.Source {
	s.t.Helper()
	var debian api.Source
	clustertest.Eventually(s.t, "the advisories are read", func() bool {
		feeds, err := s.client.Feeds(s.t.Context())
		if err != nil || len(feeds) == 0 {
			return false
		}
		i := slices.IndexFunc(feeds, func(f api.Source) bool { return f.Name == "debian" })
		debian = feeds[i]
		return debian.State == "current"
	})
	return debian
}

// checkTables opens the database of a data directory on which nothing runs, and holds its rows against what has to be so.
func checkTables(t *testing.T, dir string) map[string]int {
	t.Helper()
	servers, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Postgres: &postgres.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	conn, err := pgx.Connect(t.Context(), servers.Postgres().DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	count := func(query string) (n int) {
		if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return n
	}
	const truth = `
		SELECT r.id, a.id FROM release r JOIN affected a ON a.namespace_id = r.namespace_id AND a.name = r.name
		WHERE a.introduced_key <= r.key AND (a.fixed_key IS NULL OR r.key < a.fixed_key) AND a.status BETWEEN 1 AND 5`
	for what, query := range map[string]string{
		"edges that are left":                  `SELECT count(*) FROM pending_layer`,
		"images without a result":              `SELECT count(*) FROM image WHERE state <> 1 OR inventory_id IS NULL OR completed_at IS NULL`,
		"layers that are not analyzed":         `SELECT count(*) FROM layer WHERE state <> 2`,
		"submissions that are not resolved":    `SELECT count(*) FROM submission WHERE state <> 1`,
		"findings that are missing":            `SELECT count(*) FROM (` + truth + ` EXCEPT SELECT release_id, affected_id FROM finding) x`,
		"findings that are too many":           `SELECT count(*) FROM (SELECT release_id, affected_id FROM finding EXCEPT ` + truth + `) x`,
		"inventories that no image has":        `SELECT count(*) FROM inventory v WHERE NOT EXISTS (SELECT FROM image i WHERE i.inventory_id = v.id)`,
		"packages that no inventory has":       `SELECT count(*) FROM package p WHERE NOT EXISTS (SELECT FROM inventory v WHERE v.package_ids @> ARRAY[p.id])`,
		"releases that no package has":         `SELECT count(*) FROM release r WHERE NOT EXISTS (SELECT FROM package p WHERE p.release_id = r.id)`,
		"layers that no image has":             `SELECT count(*) FROM layer l WHERE NOT EXISTS (SELECT FROM image i WHERE l.id = ANY(i.layer_ids))`,
		"packages of inventories that are not": `SELECT count(*) FROM inventory v, unnest(v.package_ids) p(id) WHERE NOT EXISTS (SELECT FROM package WHERE package.id = p.id)`,
	} {
		if n := count(query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	sizes := make(map[string]int)
	for _, table := range []string{"image", "layer", "inventory", "package", "release", "affected", "finding", "advisory"} {
		sizes[table] = count(`SELECT count(*) FROM ` + table)
	}
	return sizes
}

// slowRegistry serves images whose layers take some time.
func slowRegistry(t *testing.T, r *rand.Rand) *clustertest.Registry {
	t.Helper()
	registry := clustertest.NewRegistry(t)
	var turn atomic.Int64
	pauses := make([]time.Duration, 97)
	for i := range pauses {
		pauses[i] = time.Duration(r.IntN(150)) * time.Millisecond
	}
	registry.Fault(func(_ http.ResponseWriter, request *http.Request) bool {
		select {
		case <-time.After(pauses[turn.Add(1)%int64(len(pauses))]):
		case <-request.Context().Done():
		}
		return false
	})
	return registry
}

// makeTargets makes images that share a base, some in the registry, some to be uploaded.
func makeTargets(t *testing.T, registry *clustertest.Registry, images, uploads int) (targets []target) {
	t.Helper()
	base := clustertest.Layer(clustertest.DebianRelease, clustertest.File{Name: "etc/base", Content: "base"})
	for i := range images {
		top := clustertest.Layer(clustertest.Status(fmt.Sprintf("zlib 1:1.2.%d", i%7), fmt.Sprintf("perl 5.%d", i)), clustertest.File{Name: "etc/image", Content: fmt.Sprint(i)})
		name := fmt.Sprint("image", i)
		targets = append(targets, target{name: name, reference: registry.Push(t, name, "1", base, top)})
	}
	for i := range uploads {
		content := clustertest.Tar(clustertest.DebianRelease, clustertest.Status("zlib 1:1.2.3", fmt.Sprintf("perl 5.%d", 1000+i)))
		targets = append(targets, target{name: fmt.Sprint("upload", i), archive: content})
	}
	return targets
}

// tracker returns a document of the Debian security tracker with that many entries about each of two packages.
func tracker(entries int) []byte {
	document := make(map[string]map[string]any)
	for _, name := range []string{"zlib", "perl"} {
		document[name] = make(map[string]any)
		for i := range entries {
			version := fmt.Sprintf("5.%d", i)
			if name == "zlib" {
				version = fmt.Sprintf("1:1.2.%d", i%9)
			}
			document[name][fmt.Sprintf("CVE-2024-%05d", i)] = map[string]any{
				"description": "Made up.",
				"releases":    map[string]any{"bookworm": map[string]any{"status": "resolved", "fixed_version": version, "urgency": "medium"}},
			}
		}
	}
	text, _ := json.Marshal(document) // strings alone
	return text
}

const trackerPath = "/security-tracker.debian.org/tracker/data/json"

// serveTracker serves the document of the tracker as a mirror does. before is called with each request for it.
func serveTracker(t *testing.T, content func() []byte, before func()) string {
	t.Helper()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != trackerPath {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if before != nil {
			before()
		}
		_, _ = w.Write(content())
	}))
	t.Cleanup(mirror.Close)
	return mirror.URL
}

// TestKill kills a server again and again while images are submitted, and holds the results against those of one that
// was left in peace.
func TestKill(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	kills := setting(t, "TRAWL_TEST_KILLS", 4)
	registry := slowRegistry(t, random)
	targets := makeTargets(t, registry, 10*kills, 3*kills)
	mirror := serveTracker(t, func() []byte { return tracker(300) }, nil)

	s := newServer(t, mirror)
	ids := make(map[string]string)
	began := time.Now()
	for kill := range kills {
		s.start()
		// A new server answers after some two seconds, and leads once the lease of the one before has ended.
		pause := time.Duration(random.IntN(9000)) * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), pause)
		s.submitAll(ctx, targets[:len(targets)*(kill+1)/kills], ids)
		<-ctx.Done()
		cancel()
		s.kill()
		t.Logf("killed after %s, with %d of %d targets submitted", pause, len(ids), len(targets))
	}
	s.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.submitAll(ctx, targets, ids)
	s.awaitAdvisories()
	got := s.results(ids)
	t.Logf("all done %s after the first start", time.Since(began))
	s.stop()
	sizes := checkTables(t, s.dir)

	calm := newServer(t, mirror)
	calm.start()
	calm.awaitReady()
	calmIDs := make(map[string]string)
	calm.submitAll(ctx, targets, calmIDs)
	calm.awaitAdvisories()
	want := calm.results(calmIDs)
	calm.stop()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports differ from those of a calm run (-calm +killed):\n%.3000s", diff)
	}
	if diff := cmp.Diff(checkTables(t, calm.dir), sizes); diff != "" {
		t.Errorf("rows differ from those of a calm run (-calm +killed):\n%s", diff)
	}
	if len(want["image0"].Findings) == 0 {
		t.Error("nothing was found, so that nothing was compared")
	}
}

// onlyWhole leaves out uploads that were broken off, which are kept for an hour.
func onlyWhole(entries []os.DirEntry) []os.DirEntry {
	return slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".part") })
}

// TestKillFirstStart kills a server while it makes its data directory.
func TestKillFirstStart(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	s := newServer(t, serveTracker(t, func() []byte { return tracker(1) }, nil))
	for range setting(t, "TRAWL_TEST_KILLS", 4) {
		s.start()
		pause := time.Duration(random.IntN(1500)) * time.Millisecond
		<-time.After(pause)
		s.kill()
		t.Logf("killed after %s", pause)
	}
	s.start()
	s.awaitReady()
	ids := make(map[string]string)
	s.submitAll(t.Context(), makeTargets(t, clustertest.NewRegistry(t), 1, 1), ids)
	s.results(ids)
	s.stop()
}

// TestKillUpload kills a server while it receives an archive: there is no submission then, and none of half an archive.
func TestKillUpload(t *testing.T) {
	t.Parallel()
	s := newServer(t, serveTracker(t, func() []byte { return tracker(1) }, nil))
	s.start()
	s.awaitReady()
	r, w := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		_, err := s.client.Upload(t.Context(), r, "half", nil)
		failed <- err
	}()
	content := clustertest.Tar(clustertest.DebianRelease, clustertest.Status("zlib 1"))
	if _, err := w.Write(content[:len(content)/2]); err != nil {
		t.Fatal(err)
	}
	uploads := filepath.Join(s.dir, "uploads")
	clustertest.Eventually(t, "something came", func() bool {
		kept, err := os.ReadDir(uploads)
		return err == nil && len(kept) == 1
	})
	s.kill()
	w.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-failed; err == nil {
		t.Error("an upload to a server that was killed succeeds")
	}
	s.start()
	s.awaitReady()
	kept, err := os.ReadDir(uploads)
	if err != nil || len(onlyWhole(kept)) != 0 {
		t.Errorf("kept: %v, %v", kept, err)
	}
	status, err := s.client.Status(t.Context())
	if err != nil || status.Backlog.SubmissionsQueued != 0 || status.Totals.Images != 0 {
		t.Errorf("%+v, %v", status, err)
	}
	s.stop()
}

// TestKillUpdate kills a server while it reads advisories: they are applied whole, or not at all.
func TestKillUpdate(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	const few, many = 100, 5_000
	entries := few
	asked := make(chan struct{}, 100)
	s := newServer(t, serveTracker(t, func() []byte { return tracker(entries) }, func() { asked <- struct{}{} }))
	registry := clustertest.NewRegistry(t)
	s.start()
	ids := make(map[string]string)
	s.submitAll(t.Context(), makeTargets(t, registry, 5, 0), ids)
	if debian := s.awaitAdvisories(); debian.Ranges != 2*few {
		t.Fatalf("%+v", debian)
	}
	before := s.results(ids)
	entries = many
	for range setting(t, "TRAWL_TEST_KILLS", 4) / 2 { // each waits until the lock of the one before has ended
		for len(asked) > 0 {
			<-asked
		}
		if _, err := s.client.UpdateFeeds(t.Context(), []string{"debian"}); err != nil {
			t.Fatal(err)
		}
		<-asked
		pause := time.Duration(random.IntN(1500)) * time.Millisecond
		<-time.After(pause)
		s.kill()
		s.start()
		s.awaitReady()
		feeds, err := s.client.Feeds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("killed %s after the document was asked for: %d ranges", pause, feeds[0].Ranges)
		switch feeds[0].Ranges {
		case 2 * few:
			if diff := cmp.Diff(before, s.results(ids)); diff != "" {
				t.Errorf("reports changed although the advisories did not:\n%.2000s", diff)
			}
		case 2 * many:
			for name, r := range s.results(ids) {
				if len(r.Findings) <= len(before[name].Findings) {
					t.Errorf("%s has %d findings of %d advisories, and had %d", name, len(r.Findings), many, len(before[name].Findings))
				}
			}
		default:
			t.Errorf("%d ranges: neither those of before nor those of after", feeds[0].Ranges)
		}
	}
	if _, err := s.client.UpdateFeeds(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the new advisories are applied", func() bool {
		feeds, err := s.client.Feeds(t.Context())
		return err == nil && feeds[0].Ranges == 2*many && feeds[0].State == "current"
	})
	s.stop()
	checkTables(t, s.dir)
}
