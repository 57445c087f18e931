package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
)

func TestMain(m *testing.M) {
	code := crashtest.Main(m, map[string]func(context.Context, []string) error{
		"start":  startOnly,
		"commit": commitForEver,
	})
	os.RemoveAll(templateDir)
	os.Exit(code)
}

// startOnly starts a server in args[0] and says so.
func startOnly(ctx context.Context, args []string) error {
	s, err := Start(ctx, Config{Dir: args[0]})
	if err != nil {
		return err
	}
	fmt.Println("started", s.PID())
	<-ctx.Done()
	return s.Stop(context.Background())
}

// commitForEver starts a server in args[0], commits 1, 2, 3, … and prints each number once it is
// committed.
func commitForEver(ctx context.Context, args []string) error {
	s, err := Start(ctx, Config{Dir: args[0]})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE committed (n int PRIMARY KEY)"); err != nil {
		return err
	}
	fmt.Println("started", s.PID())
	for n := 1; ; n++ {
		if _, err := conn.Exec(ctx, "INSERT INTO committed VALUES ($1)", n); err != nil {
			return err
		}
		fmt.Println("committed", n)
	}
}

// sharedDir returns a directory that holds a cluster, for tests that leave it stopped and as it was. It
// is made once, for making one takes longer than all else.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := initialized()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// newDir returns a directory that root's server can enter and that holds a cluster of its own.
func newDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(openDir(t), "postgres")
	copyCluster(t, dir)
	return dir
}

// copyCluster copies the cluster of sharedDir to dir, which is made.
func copyCluster(t *testing.T, dir string) {
	t.Helper()
	data := filepath.Join(dir, "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(sharedDir(t), "data"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
}

// openDir is t.TempDir, and other users can enter it.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o711), os.Chmod(filepath.Dir(dir), 0o711)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// initialized makes a cluster and returns the directory of its server.
var initialized = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "trawl-test-")
	if err != nil {
		return "", err
	}
	templateDir = dir
	s, err := Start(context.Background(), Config{Dir: dir, Scratch: true})
	if err != nil {
		return "", err
	}
	return dir, s.Stop(context.Background())
})

// templateDir is the directory of initialized, which TestMain removes.
var templateDir string

// mustStart starts a server that is stopped when the test ends.
func mustStart(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func mustConnect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// value runs a statement that returns one row of one column.
func value[T any](t *testing.T, conn *pgx.Conn, statement string) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), statement).Scan(&v); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return v
}

// execute runs a statement that returns nothing.
func execute(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
