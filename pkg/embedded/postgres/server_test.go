package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TestRestart goes through the life of a server: the first start makes the cluster, the data are there
// at the second, and nothing is left when it is stopped.
func TestRestart(t *testing.T) {
	leaktest.Check(t)
	dir := filepath.Join(openDir(t), "made", "on the way")
	begin := time.Now()
	s := mustStart(t, Config{Dir: dir})
	t.Logf("first start of PostgreSQL %s: %v", s.Version(), time.Since(begin))
	conn := mustConnect(t, s.DSN())
	execute(t, conn, "CREATE TABLE kept AS SELECT 'déjà vu' AS word")
	if pgid, err := syscall.Getpgid(s.PID()); err != nil || pgid == syscall.Getpgrp() {
		t.Errorf("an interrupt at the terminal reaches the server: process group %d, %v", pgid, err)
	}
	if s.Err() != nil {
		t.Errorf("Err of a running server: %v", s.Err())
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil || s.Err() != nil {
		t.Errorf("stopping twice: %v, Err: %v", err, s.Err())
	}

	begin = time.Now()
	s = mustStart(t, Config{Dir: dir})
	t.Logf("second start: %v", time.Since(begin))
	conn = mustConnect(t, s.DSN())
	if got := value[string](t, conn, "SELECT word FROM kept"); got != "déjà vu" {
		t.Errorf("after a restart: %q", got)
	}
	begin = time.Now()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("stop with a session open: %v", time.Since(begin))
	for _, name := range []string{"run", "data/postmaster.pid"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

// TestSettings reads back from the server what it was told, in the order of precedence.
func TestSettings(t *testing.T) {
	dir := sharedDir(t)
	local := filepath.Join(dir, "local.conf")
	defer os.Remove(local)
	if err := os.WriteFile(local, []byte("work_mem = '9MB'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := mustStart(t, Config{Dir: dir, Scratch: true, Settings: map[string]string{
		"application_name": `it's a \ test`,
		"shared_buffers":   "16MB",
		"work_mem":         "8MB",
	}})
	conn := mustConnect(t, s.DSN())
	for name, want := range map[string]string{
		"listen_addresses": "",
		"wal_level":        "minimal",
		"jit":              "off",
		"fsync":            "off",
		"server_encoding":  "UTF8",
		"shared_buffers":   "16MB",
		"work_mem":         "9MB",
		"TimeZone":         "UTC",
	} {
		if got := value[string](t, conn, "SHOW "+name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := value[string](t, conn, "SELECT reset_val FROM pg_settings WHERE name = 'application_name'"); got != `it's a \ test` {
		t.Errorf("a value with quotes: %q", got)
	}
	if n := value[int](t, conn, "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL"); n > 0 {
		t.Errorf("%d settings in error", n)
	}
}

// TestDurable holds the settings of a server that is not for tests to what it promises.
func TestDurable(t *testing.T) {
	for _, s := range settings(Config{}) {
		if s.name == "fsync" || s.name == "full_page_writes" || s.name == "synchronous_commit" && s.value != "on" {
			t.Errorf("%s = %s", s.name, s.value)
		}
	}
}

// TestStopInHaste stops a server with no time given; it recovers at the next start.
func TestStopInHaste(t *testing.T) {
	leaktest.Check(t)
	dir := newDir(t)
	s := mustStart(t, Config{Dir: dir})
	conn := mustConnect(t, s.DSN())
	execute(t, conn, "CREATE TABLE kept AS SELECT 1 AS n")
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(now); err != nil {
		t.Fatal(err)
	}
	s = mustStart(t, Config{Dir: dir})
	if got := value[int](t, mustConnect(t, s.DSN()), "SELECT n FROM kept"); got != 1 {
		t.Errorf("after recovery: %d", got)
	}
}

// TestStartFails looks at what is said, and left, when the server cannot start.
func TestStartFails(t *testing.T) {
	leaktest.Check(t)
	made := sharedDir(t)
	for _, c := range []struct {
		name string
		cfg  Config
		kind fault.Kind
		says string
	}{
		{"a setting that is none", Config{Dir: made, Settings: map[string]string{"no_such": "1"}}, fault.Unavailable, `unrecognized configuration parameter "no_such"`},
		{"more memory than there is", Config{Dir: made, Settings: map[string]string{"shared_buffers": "100TB"}}, fault.Unavailable, "shared_buffers"},
		{"no binaries", Config{Dir: made, BinDir: t.TempDir()}, fault.NotFound, "PostgreSQL is not installed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Start(t.Context(), c.cfg)
			if err == nil {
				s.Stop(t.Context())
				t.Fatal("it started")
			}
			if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("kind %v, want %v; want %q in:\n%v", fault.KindOf(err), c.kind, c.says, err)
			}
		})
	}
	t.Run("no time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		dir := openDir(t)
		if s, err := Start(ctx, Config{Dir: dir}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("started %v, error %v", s, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestServerDies kills the postmaster under us, with a backend that does not notice.
func TestServerDies(t *testing.T) {
	leaktest.Check(t)
	dir := newDir(t)
	s := mustStart(t, Config{Dir: dir})
	busy := mustConnect(t, s.DSN())
	pid := value[int](t, busy, "SELECT pg_backend_pid()")
	go busy.Exec(t.Context(), "SELECT sum(a) FROM generate_series(1, 100000000) a")
	watch := mustConnect(t, s.DSN())
	for value[string](t, watch, "SELECT coalesce(max(state), '') FROM pg_stat_activity WHERE query LIKE 'SELECT sum%'") != "active" {
	}
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Done waits for the backends too, or for the ten seconds that they are given.
	next := mustStart(t, Config{Dir: dir})
	<-s.Done()
	if err := s.Err(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Err = %v", err)
	}
	if crashtest.Alive(pid) {
		t.Errorf("backend %d of the dead server lives", pid)
	}
	if err := next.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOtherMajorVersion(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("13\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{Dir: dir})
	if fault.KindOf(err) != fault.Unsupported || !strings.Contains(err.Error(), "install version 13") {
		t.Errorf("kind %v: %v", fault.KindOf(err), err)
	}
}

// TestEnvironment: the variables of libpq, which the clients of users obey, are nothing to us.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGDATA", "PGSSLMODE", "LANG"} {
		t.Setenv(name, "verify-full")
	}
	t.Setenv("PGPORT", "1")
	s := mustStart(t, Config{Dir: sharedDir(t), Scratch: true})
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
}
