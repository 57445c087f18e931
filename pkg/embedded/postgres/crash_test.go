package postgres

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
)

// TestKill kills a process that commits, and starts the next without any wait: the old server is ended,
// and each number that was reported as committed is there, none missing before it.
func TestKill(t *testing.T) {
	leaktest.Check(t)
	dir := newDir(t)
	child := crashtest.Start(t, "commit", dir)
	old, err := strconv.Atoi(child.Await("started"))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		child.Await("committed")
	}
	child.Kill()
	begin := time.Now()
	s := mustStart(t, Config{Dir: dir})
	t.Logf("start after kill -9: %v", time.Since(begin))
	if crashtest.Alive(old) {
		t.Errorf("the old server, process %d, lives", old)
	}
	last, ok := child.Rest("committed")
	if !ok {
		last = "50"
	}
	promised, err := strconv.Atoi(last)
	if err != nil {
		t.Fatal(err)
	}
	conn := mustConnect(t, s.DSN())
	count, most := value[int](t, conn, "SELECT count(*) FROM committed"), value[int](t, conn, "SELECT max(n) FROM committed")
	if count != most || most < promised {
		t.Errorf("%d rows up to %d, and %d were promised", count, most, promised)
	}
	t.Logf("%d commits promised, %d kept", promised, most)
}

// TestKillEndsServer: when nobody starts the next one, the server still goes.
func TestKillEndsServer(t *testing.T) {
	child := crashtest.Start(t, "start", sharedDir(t))
	pid, err := strconv.Atoi(child.Await("started"))
	if err != nil {
		t.Fatal(err)
	}
	child.Kill()
	awaitEnd(t, pid)
}

// awaitEnd waits for the end of a process that is not our child.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		if !crashtest.Alive(pid) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives", pid)
		}
	}
}

// TestKillInFirstStart kills processes at all points of the first start, then lets one finish.
func TestKillInFirstStart(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	attempts := 3
	if testing.Short() {
		attempts = 1
	}
	for range attempts {
		child := crashtest.Start(t, "start", dir)
		awaitAttempt(t, dir)
		<-time.After(time.Duration(random.IntN(400)) * time.Millisecond)
		child.Kill()
		entries, _ := filepath.Glob(filepath.Join(dir, "*"))
		t.Logf("killed with %q there", entries)
	}
	s := mustStart(t, Config{Dir: dir})
	if got := value[string](t, mustConnect(t, s.DSN()), "SELECT current_database()::text"); got != "trawl" {
		t.Errorf("database %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "init-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// awaitAttempt waits until a start in dir has begun to make, or has made, the cluster.
func awaitAttempt(t *testing.T, dir string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		attempts, _ := filepath.Glob(filepath.Join(dir, "init-*", "PG_VERSION"))
		made, _ := filepath.Glob(filepath.Join(dir, "data"))
		if len(attempts)+len(made) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the start does not begin")
		}
	}
}

// TestStaleLock: the lock file of a killed server names a process that is now another program's.
func TestStaleLock(t *testing.T) {
	dir := sharedDir(t)
	other := exec.Command("cat")
	input, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { input.Close(); other.Wait() }()
	lock := strconv.Itoa(other.Process.Pid) + "\n" + filepath.Join(dir, "data") + "\n1700000000\n5432\n" + filepath.Join(dir, "run") + "\n\n"
	path := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(path, []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	mustStart(t, Config{Dir: dir, Scratch: true})
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other program was ended: %v", err)
	}
}
