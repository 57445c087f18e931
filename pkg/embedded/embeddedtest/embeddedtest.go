// Package embeddedtest provides real PostgreSQL databases to tests: [Postgres] returns a new, empty
// one, and [PostgresFrom] one that was filled once and is copied for each test.
//
// The first call in a test binary starts one server for all its tests (about a second); a database
// takes some 20 milliseconds. Server and files are gone when the test binary is, also when it was
// killed or ran into a timeout. Nothing needs to be set up but the installed binaries; see package
// postgres for where they are looked for.
package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
)

// SkipVariable names the environment variable that, when set, lets tests be skipped where PostgreSQL is
// not installed. Otherwise they fail: a suite that leaves out its database must not look like one that
// passed.
const SkipVariable = "TRAWL_TEST_SKIP_POSTGRES"

// Postgres returns the address of a new, empty database, which is dropped when the test ends. Safe for
// concurrent use.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return create(tb, server(tb), "template0")
}

// PostgresFrom is Postgres, and the database is a copy of the one that fill made at the first call with
// this name, by migrations for instance. fill must close its connections.
func PostgresFrom(tb testing.TB, name string, fill func(dsn string) error) string {
	tb.Helper()
	s := server(tb)
	entry, _ := templates.LoadOrStore(name, &template{})
	t := entry.(*template)
	t.once.Do(func() {
		t.database = fmt.Sprintf("template_%d", sequence.Add(1))
		if t.err = execute(tb.Context(), s, "CREATE DATABASE "+t.database+" TEMPLATE template0"); t.err == nil {
			t.err = fill(s.DatabaseDSN(t.database))
		}
	})
	if t.err != nil {
		tb.Fatalf("fill the template %s: %v", name, t.err)
	}
	return create(tb, s, t.database)
}

// A template is a database that others are copies of.
type template struct {
	once     sync.Once
	database string
	err      error
}

// What the tests of one binary share.
var (
	templates sync.Map // name to *template
	sequence  atomic.Int64
	shared    struct {
		once   sync.Once
		server *postgres.Server
		err    error
	}
)

// server returns the server of this test binary.
func server(tb testing.TB) *postgres.Server {
	tb.Helper()
	shared.once.Do(func() { shared.server, shared.err = start() })
	if errors.Is(shared.err, postgres.ErrNotInstalled) && os.Getenv(SkipVariable) != "" {
		tb.Skipf("%v (and %s is set)", shared.err, SkipVariable)
	}
	if shared.err != nil {
		tb.Fatalf("%v (set %s to skip the tests that need PostgreSQL)", shared.err, SkipVariable)
	}
	if err := shared.server.Err(); err != nil {
		tb.Fatal(err)
	}
	return shared.server
}

// start starts a server whose files are removed when this process ends.
func start() (*postgres.Server, error) {
	dir, err := os.MkdirTemp("", "trawl-test-")
	if err != nil {
		return nil, err
	}
	if err := removeAtExit(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return postgres.Start(context.Background(), postgres.Config{Dir: dir, Scratch: true})
}

// remover waits until its input ends, that is, until the process that holds the other end of the pipe
// has ended in whatever way. Then it ends the server, should it run, and removes the directory.
const remover = `
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
rm -rf "$1"`

// removeAtExit starts the remover for dir. It has a session of its own, so that an interrupt at the
// terminal does not end it, and none of our outputs, which go test waits for.
func removeAtExit(dir string) error {
	alive, theirs, err := pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", remover, "sh", dir)
	cmd.Stdin = theirs
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = alive.Close()
		return err
	}
	keepOpen = alive
	return cmd.Process.Release()
}

// keepOpen is our end of the pipe; it is closed by the end of the process.
var keepOpen *os.File //nolint:unused // being reachable is its use

func pipe() (ours, theirs *os.File, err error) {
	theirs, ours, err = os.Pipe()
	return ours, theirs, err
}

// create makes a database from a template and drops it when the test ends.
func create(tb testing.TB, s *postgres.Server, template string) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", sequence.Add(1))
	if err := execute(tb.Context(), s, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		tb.Fatalf("create a database: %v", err)
	}
	tb.Cleanup(func() {
		if err := execute(context.Background(), s, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop the database: %v", err)
		}
	})
	return s.DatabaseDSN(name)
}

// execute runs one statement outside of any transaction.
func execute(ctx context.Context, s *postgres.Server, statement string) error {
	conn, err := pgx.Connect(ctx, s.DatabaseDSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}
