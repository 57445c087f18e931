package local

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/api"
)

// TestCluster is the life of one cluster; its parts follow one another.
func TestCluster(t *testing.T) {
	began := time.Now()
	empty := t.TempDir()
	c, top := start(t, Config{Scratch: true, Relays: true, Arguments: map[string][]string{Updater: {"--mirror", empty}}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	settled(t, c)
	if took := time.Since(began); took > time.Minute && !isBusy() {
		t.Errorf("ready after %s, want a minute at most", took)
	} else {
		t.Logf("ready after %.1f s", took.Seconds())
	}
	logStarts(t, c)
	t.Run("status", func(t *testing.T) { testStatus(t, c) })
	t.Run("links", func(t *testing.T) { testLinks(t, c) })
	t.Run("scan", func(t *testing.T) { testScan(t, c) })
	t.Run("load", func(t *testing.T) { testLoad(t, c) })
	t.Run("drain", func(t *testing.T) { testDrain(t, c) })
	t.Run("killed", func(t *testing.T) { testKilled(t, c) })
	t.Run("add", func(t *testing.T) { testAdd(t, c) })
	t.Run("close", func(t *testing.T) { testClose(t, c, top) })
}

// isBusy reports whether so much else runs on the machine that times mean nothing (proc_loadavg(5)).
func isBusy() bool {
	var load float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, err = fmt.Sscan(string(text), &load)
	}
	return err == nil && load > 4*float64(runtime.NumCPU())
}

// logStarts tells how long the members that were started last took, and what that cost.
func logStarts(t *testing.T, c *Cluster) {
	t.Helper()
	took := make(map[string]time.Duration)
	for _, a := range c.Addresses() {
		took[a.Name] = a.Took
	}
	usage, err := c.Usage()
	if err != nil {
		t.Log(err)
	}
	for _, u := range usage {
		t.Logf("%-14s ready after %5.2f s, took %5.2f s of CPU and %3d MiB", u.Name, took[u.Name].Seconds(), u.CPU.Seconds(), u.MemoryBytes>>20)
	}
}

// settled waits until the cluster is at work, and returns what its API tells then.
func settled(t *testing.T, c *Cluster) *api.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	status, err := c.Settled(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("settled after %.1f s", time.Since(began).Seconds())
	return status
}

// incomplete is the exit code that says that something is not known: here, that no advisories were read.
const incomplete = 3

// command runs the program with the settings of the cluster, and decodes what it prints.
func command(t *testing.T, c *Cluster, out any, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.binary, append([]string{"--config", c.Settings(), "-o", "json"}, args...)...)
	cmd.Env = cleanEnvironment()
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != incomplete {
		t.Fatalf("trawl %v: %v\n%s", args, err, said.String())
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("trawl %v: %v\n%s", args, err, text)
	}
}

// testStatus: the command line tells leader, members and shards as they are.
func testStatus(t *testing.T, c *Cluster) {
	var status api.Status
	command(t, c, &status, "status")
	var names []string
	shards := 0
	for _, m := range status.Cluster.Members {
		names = append(names, m.Name)
		role, _, _ := strings.Cut(m.Name, "-")
		if !slices.Equal(m.Roles, []string{role}) || (role == Worker) != (m.Shards > 0) {
			t.Errorf("member %+v", m)
		}
		shards += m.Shards
	}
	want := []string{"api-1", "coordinator-1", "coordinator-2", "notifier-1", "updater-1", "worker-1", "worker-2", "worker-3"}
	if !slices.Equal(names, want) || shards != 256 || status.Cluster.Unassigned+status.Cluster.Unowned != 0 {
		t.Errorf("members %v with %d shards; %+v", names, shards, status.Cluster)
	}
	if !strings.HasPrefix(status.Cluster.Leader, Coordinator) || !status.Cluster.EtcdHealthy {
		t.Errorf("leader %q, etcd is well: %v", status.Cluster.Leader, status.Cluster.EtcdHealthy)
	}
}

// testScan: an image that was pushed as images are pushed is scanned by the command line.
func testScan(t *testing.T, c *Cluster) {
	load, err := Load{Images: 1, Seed: 7}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(c.Servers().Registry+"/pushed/app:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	err = load.each(t.Context(), func(_ int, image v1.Image, _ []layer) error { return remote.Write(reference, image) })
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		State    string
		Packages []struct{ Name string }
	}
	command(t, c, &report, "scan", "--no-update", reference.String())
	if want := load.Packages + 2*installed; report.State != "complete" || len(report.Packages) < want {
		t.Errorf("%s with %d packages, want complete with %d or more", report.State, len(report.Packages), want)
	}
}

// testLoad: images in numbers are all scanned.
func testLoad(t *testing.T, c *Cluster) {
	began := time.Now()
	references, err := c.Push(t.Context(), Load{Images: 200})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("made %d images in %.2f s", len(references), time.Since(began).Seconds())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	result, err := c.Scan(ctx, references, ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if result.States[api.StateComplete] != 200 {
		t.Errorf("%v\n%s", result.States, strings.Join(result.Problems, "\n"))
	}
	t.Logf("%.0f images/s", result.Rate())
	for _, u := range result.Usage {
		t.Logf("%-14s %5.2f s of CPU, %3d MiB", u.Name, u.CPU.Seconds(), u.MemoryBytes>>20)
	}
}

// testDrain: a worker that is told to stop while it has work ends well, and the others take its shards, and what it
// did not get to.
func testDrain(t *testing.T, c *Cluster) {
	references, err := c.Push(t.Context(), Load{Images: 100, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	scanned := make(chan error, 1)
	go func() { scanned <- scanAll(ctx, c, references) }()
	began := time.Now()
	if err := c.Stop("worker-1"); err != nil {
		t.Error(err)
	}
	t.Logf("stopped after %.1f s", time.Since(began).Seconds())
	status := settled(t, c)
	if took := time.Since(began); took > 20*time.Second && !isBusy() {
		t.Errorf("its shards had moved after %s", took)
	}
	if n := countMembers(status, Worker); n != 2 {
		t.Errorf("%d workers, want 2", n)
	}
	if err := <-scanned; err != nil {
		t.Error(err)
	}
	if err := c.Restart(t.Context(), "worker-1"); err != nil {
		t.Fatal(err)
	}
	if n := countMembers(settled(t, c), Worker); n != 3 {
		t.Errorf("%d workers, want 3", n)
	}
}

// scanAll scans references, all of which have to be complete.
func scanAll(ctx context.Context, c *Cluster, references []string) error {
	result, err := c.Scan(ctx, references, ScanOptions{})
	if err == nil && result.States[api.StateComplete] != len(references) {
		err = fmt.Errorf("%v: %s", result.States, strings.Join(result.Problems, "\n"))
	}
	return err
}

func countMembers(status *api.Status, role string) int {
	n := 0
	for _, m := range status.Cluster.Members {
		if slices.Contains(m.Roles, role) {
			n++
		}
	}
	return n
}

// testKilled: whoever is killed or paused, the cluster is at work again soon after it is back, and before that where
// others can stand in.
func testKilled(t *testing.T, c *Cluster) {
	leader := settled(t, c).Cluster.Leader
	for _, name := range []string{leader, "worker-2"} {
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
		t.Log(name + " is dead")
		settled(t, c)
	}
	for _, name := range []string{Postgres, Etcd, Kafka, Registry, "worker-3"} {
		if err := c.Pause(name); err != nil {
			t.Fatal(err)
		}
		if err := c.Resume(name); err != nil {
			t.Fatal(err)
		}
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range c.Addresses() {
		if a.State == Running {
			continue
		}
		if err := c.Restart(t.Context(), a.Name); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	logStarts(t, c)
	settled(t, c)
	references, err := c.Push(ctx, Load{Images: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := scanAll(ctx, c, references); err != nil {
		t.Error(err)
	}
	for _, a := range c.Addresses() {
		if a.State != Running {
			t.Errorf("%s is %s", a.Name, a.State)
		}
	}
}

// testLinks: what a role says to a server goes over its relay, also after the broker told it where to go.
func testLinks(t *testing.T, c *Cluster) {
	for _, m := range c.all() {
		for to, way := range m.links {
			r, ok := way.(*relay)
			if !ok || to == Registry { // of gossip there may be none, and nobody pulls yet
				continue
			}
			r.mu.Lock()
			used := len(r.ends) > 0
			r.mu.Unlock()
			if !used && (to != Kafka || m.role == Worker) { // others send when there is something to be sent
				t.Errorf("nothing goes from %s to %s", m.name, to)
			}
			if to != Kafka {
				continue
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(way.address()), kgo.DisableClientMetrics())
			if err != nil {
				t.Fatal(err)
			}
			brokers, err := kadm.NewClient(client).ListBrokers(t.Context())
			client.Close()
			if err != nil || len(brokers) != 1 || net.JoinHostPort(brokers[0].Host, strconv.Itoa(int(brokers[0].Port))) != way.address() {
				t.Errorf("the broker tells %s, who asks at %s, to go to %v (%v)", m.name, way.address(), brokers, err)
			}
		}
	}
	if err := c.Cut("worker-1", Registry); err == nil {
		t.Error("a worker is cut off from what it has no relay to")
	}
}

// testAdd: one more worker gets shards.
func testAdd(t *testing.T, c *Cluster) {
	name, err := c.Add(t.Context(), Worker)
	if err != nil || name != "worker-4" {
		t.Fatal(name, err)
	}
	if n := countMembers(settled(t, c), Worker); n != 4 {
		t.Errorf("%d workers, want 4", n)
	}
	text, err := c.Logs(name)
	if err != nil {
		t.Error(text, err)
	}
}

// testClose: nothing is left but the directory.
func testClose(t *testing.T, c *Cluster, top string) {
	pids, addresses := c.pids(), c.addresses()
	if len(pids) < 13 || len(addresses) < 20 {
		t.Fatalf("processes %v at %v", pids, addresses)
	}
	began := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed after %.1f s", time.Since(began).Seconds())
	gone(t, pids)
	for _, address := range addresses {
		if !isFree(address) {
			t.Errorf("%s is still listened on", address)
		}
	}
	entries, err := os.ReadDir(filepath.Join(top, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "go-build") { // those of the compiler, should one run
			t.Errorf("%s is left among temporary files", entry.Name())
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := c.Add(t.Context(), Worker); err == nil {
		t.Error("added to a closed cluster")
	}
}

// TestOrphans: members of a harness that was killed die too, also one that it had paused. The etcd of this test is the
// one that is built where none is installed.
func TestOrphans(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skipf("SKIPPED, only Linux tells children of the death of their parent: %v", err)
	}
	if !testing.Short() {
		hide(t, "etcd")
	}
	c, top := start(t, serversOnly("")) // skips where it cannot be
	if _, err := os.Stat(filepath.Join(top, "c/bin/etcd")); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanVariable+"="+filepath.Join(top, "c")) // the servers find what they kept
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	text, ok := strings.CutPrefix(line, "PIDS ")
	if err != nil || !ok {
		t.Fatalf("the harness said %q: %v", line, err)
	}
	var pids []int
	for _, field := range strings.Fields(text) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if !alive(pid) {
			t.Errorf("process %d is dead too soon", pid)
		}
		pids = append(pids, pid)
	}
	if len(pids) < 8 { // the servers, and what belongs to PostgreSQL
		t.Errorf("processes %v", pids)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, pids)
}
