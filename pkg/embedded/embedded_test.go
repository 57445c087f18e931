package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
	"github.com/trawl-scanner/trawl/pkg/embedded/etcd"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
	"github.com/trawl-scanner/trawl/pkg/embedded/kafka"
	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestMain(m *testing.M) {
	os.Exit(crashtest.Main(m, map[string]func(context.Context, []string) error{"write": writeForEver}))
}

func all(dir string) Config {
	return Config{Dir: dir, Postgres: &postgres.Config{}, Etcd: &etcd.Config{}, Kafka: &kafka.Config{}}
}

// writeForEver starts all servers in args[0] and writes 1, 2, 3, … to each, and prints each number once
// all have acknowledged it.
func writeForEver(ctx context.Context, args []string) error {
	s, err := Start(ctx, all(args[0]))
	if err != nil {
		return err
	}
	if err := s.Lock().Announce("http://127.0.0.1:6060"); err != nil {
		return err
	}
	fmt.Println("started", s.Postgres().PID())
	w, err := newWriter(ctx, s)
	if err != nil {
		return err
	}
	defer w.close()
	for n := 1; ; n++ {
		if err := w.write(ctx, n); err != nil {
			return err
		}
		fmt.Println("written", n)
	}
}

// writer writes numbers to all servers.
type writer struct {
	servers *Servers
	sql     *pgx.Conn
	kafka   *kgo.Client
}

func newWriter(ctx context.Context, s *Servers) (*writer, error) {
	conn, err := pgx.Connect(ctx, s.Postgres().DSN())
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(s.Kafka().ClientOpts(), kgo.DefaultProduceTopic("numbers"))...)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS numbers (n int)"); err != nil {
		return nil, err
	}
	_, _ = kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, "numbers") // it may exist; writing tells
	return &writer{s, conn, client}, nil
}

func (w *writer) write(ctx context.Context, n int) error {
	if _, err := w.sql.Exec(ctx, "INSERT INTO numbers VALUES ($1)", n); err != nil {
		return err
	}
	if _, err := w.servers.Etcd().Client().Put(ctx, "number", strconv.Itoa(n)); err != nil {
		return err
	}
	return w.kafka.ProduceSync(ctx, &kgo.Record{Value: []byte(strconv.Itoa(n))}).FirstErr()
}

// read returns the last number in each.
func (w *writer) read(t *testing.T) (sql, etcd, kafka int) {
	t.Helper()
	if err := w.sql.QueryRow(t.Context(), "SELECT coalesce(max(n), 0) FROM numbers").Scan(&sql); err != nil {
		t.Fatal(err)
	}
	got, err := w.servers.Etcd().Client().Get(t.Context(), "number")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatal(got, err)
	}
	etcd, _ = strconv.Atoi(string(got.Kvs[0].Value))
	ends, err := kadm.NewClient(w.kafka).ListEndOffsets(t.Context(), "numbers")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("numbers", 0)
	return sql, etcd, int(end.Offset)
}

func (w *writer) close() {
	w.sql.Close(context.Background())
	w.kafka.Close()
}

func mustStart(t *testing.T, cfg Config) *Servers {
	t.Helper()
	begin := time.Now()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(begin))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestLife goes through the life of all three: made, closed, started again, killed, started again.
func TestLife(t *testing.T) {
	leaktest.Check(t)
	dir := filepath.Join(t.TempDir(), "data")
	s := mustStart(t, all(dir))
	w, err := newWriter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.write(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var owned *datadir.OwnedError
	if _, err := Start(t.Context(), all(dir)); !errors.As(err, &owned) || owned.Owner.PID != os.Getpid() {
		t.Errorf("a second start: %v", err)
	}
	w.close()
	begin := time.Now()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("closed in %v", time.Since(begin))
	if _, err := datadir.OwnerOf(dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after Close the directory has an owner: %v", err)
	}

	child := crashtest.Start(t, "write", dir)
	old, err := strconv.Atoi(child.Await("started"))
	if err != nil {
		t.Fatal(err)
	}
	if o, err := datadir.OwnerOf(dir); err != nil || o.PID != child.PID() || o.API != "http://127.0.0.1:6060" {
		t.Errorf("owner %+v, %v", o, err)
	}
	for range 20 {
		child.Await("written")
	}
	child.Kill()
	cfg := all(dir)
	cfg.Wait = true // the system takes a moment to end what it was told to kill
	s = mustStart(t, cfg)
	promised := 20
	if last, ok := child.Rest("written"); ok {
		promised, _ = strconv.Atoi(last)
	}
	if crashtest.Alive(old) {
		t.Errorf("the server of the killed process, %d, lives", old)
	}
	w, err = newWriter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	// Kafka has one more: the number that was written before the kill.
	if sql, etcd, kafka := w.read(t); sql < promised || etcd < promised || kafka < promised+1 {
		t.Errorf("promised %d; PostgreSQL has %d, etcd %d, Kafka %d", promised, sql, etcd, kafka)
	}
}

// TestOnlyWhatIsAsked starts one server, and nothing of the others is there.
func TestOnlyWhatIsAsked(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	s := mustStart(t, Config{Dir: dir, Kafka: &kafka.Config{}})
	if s.Postgres() != nil || s.Etcd() != nil || s.Kafka() == nil || s.Err() != nil {
		t.Errorf("%v, %v, %v, %v", s.Postgres(), s.Etcd(), s.Kafka(), s.Err())
	}
	for _, name := range []string{"postgres", "etcd", "etcd.log"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStartFails: one cannot start; the others are stopped, and the directory is free.
func TestStartFails(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	bad := all(dir)
	bad.Postgres.BinDir = t.TempDir()
	_, err := Start(t.Context(), bad)
	if !errors.Is(err, postgres.ErrNotInstalled) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("kind %v: %v", fault.KindOf(err), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kafka", "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), all(dir)); fault.KindOf(err) != fault.Corrupt || strings.Contains(err.Error(), "canceled") {
		t.Errorf("kind %v: %v", fault.KindOf(err), err)
	}
	if pids, _ := filepath.Glob(filepath.Join(dir, "postgres", "data", "postmaster.pid")); len(pids) > 0 {
		t.Error("PostgreSQL is left running")
	}
	lock, err := datadir.Acquire(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// TestServerDies: whoever runs the servers hears when one ends.
func TestServerDies(t *testing.T) {
	leaktest.Check(t)
	s := mustStart(t, Config{Dir: t.TempDir(), Postgres: &postgres.Config{Scratch: true}, Etcd: &etcd.Config{Scratch: true}})
	select {
	case <-s.Failed():
		t.Fatal("failed before anything happened")
	default:
	}
	if err := syscall.Kill(s.Postgres().PID(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-s.Failed()
	if err := s.Err(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "the server ended") {
		t.Errorf("kind %v: %v", fault.KindOf(err), err)
	}
}
