package embeddedtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestDatabasesAreApart(t *testing.T) {
	a, b := connect(t, Postgres(t)), connect(t, Postgres(t))
	if _, err := a.Exec(t.Context(), "CREATE TABLE only_in_a ()"); err != nil {
		t.Fatal(err)
	}
	var there bool
	if err := b.QueryRow(t.Context(), "SELECT to_regclass('only_in_a') IS NOT NULL").Scan(&there); err != nil || there {
		t.Errorf("the table of one database is seen in the other: %v, %v", there, err)
	}
	var encoding, collate string
	err := b.QueryRow(t.Context(), "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()").Scan(&encoding, &collate)
	if err != nil || encoding != "UTF8" || collate != "C" {
		t.Errorf("encoding %s, collation %s, %v; want UTF8 and C", encoding, collate, err)
	}
}

func TestPostgresFrom(t *testing.T) {
	fills := 0
	fill := func(dsn string) error {
		fills++
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), "CREATE TABLE filled AS SELECT 42 AS answer")
		return err
	}
	for range 2 {
		conn := connect(t, PostgresFrom(t, "filled", fill))
		var answer int
		if err := conn.QueryRow(t.Context(), "DELETE FROM filled RETURNING answer").Scan(&answer); err != nil || answer != 42 {
			t.Errorf("copy of the template: %d, %v", answer, err)
		}
	}
	if fills != 1 {
		t.Errorf("filled %d times", fills)
	}
}

func TestDropped(t *testing.T) {
	var dsn string
	t.Run("uses a database", func(t *testing.T) { dsn = Postgres(t) })
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		conn.Close(t.Context())
		t.Error("the database outlived its test")
	}
}

// childVariable makes TestChild the child of TestGoneAfterKill.
const childVariable = "TRAWL_TEST_CHILD"

func TestChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("run by TestGoneAfterKill")
	}
	fmt.Println("DSN", Postgres(t))
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
}

func TestGoneAfterKill(t *testing.T) {
	server(t) // fails here, and not in the child, where there is none
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	for lines := bufio.NewScanner(stdout); dir == "" && lines.Scan(); {
		if dsn, ok := strings.CutPrefix(lines.Text(), "DSN "); ok {
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			dir = filepath.Dir(u.Query().Get("host"))
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			left, _ := fs.Glob(os.DirFS(dir), "*")
			t.Fatalf("%s is still there, with %v", dir, left)
		}
	}
}
