package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// term is the leader's in these benchmarks.
const term = 1

// database is a database of its own, on a server set up as the embedded one is: what is committed is on disk.
type database struct {
	store  *store.Store
	conn   *pgx.Conn
	server *postgres.Server
	stop   func()
}

func openDatabase(b testing.TB) *database {
	b.Helper()
	dir, err := os.MkdirTemp("", "trawl-bench-")
	if err != nil {
		b.Fatal(err)
	}
	server, err := postgres.Start(b.Context(), postgres.Config{Dir: dir, Settings: explain()})
	if err != nil {
		os.RemoveAll(dir)
		b.Skipf("SKIPPED, no database to measure with: %v", err)
	}
	d := &database{server: server}
	d.stop = func() {
		if d.store != nil {
			d.store.Close()
		}
		if d.conn != nil {
			d.conn.Close(context.Background())
		}
		if err := server.Stop(context.Background()); err != nil {
			b.Error(err)
		}
		saveLog(b, dir)
		os.RemoveAll(dir)
		d.stop = func() {}
	}
	b.Cleanup(func() { d.stop() })
	if d.store, err = store.Open(b.Context(), store.Config{DSN: server.DSN()}); err != nil {
		b.Fatal(err)
	}
	if err := d.store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := d.store.TakeOffice(b.Context(), term); err != nil {
		b.Fatal(err)
	}
	if d.conn, err = pgx.Connect(b.Context(), server.DSN()); err != nil {
		b.Fatal(err)
	}
	return d
}

// install fills the table of releases, and returns how many there are.
func (d *database) install(b testing.TB, u universe) int {
	b.Helper()
	if err := d.store.RegisterSources(b.Context(), u.sources()); err != nil {
		b.Fatal(err)
	}
	ids := d.namespaces(b, u)
	n := 0
	for _, f := range u.families {
		next := make(chan release, 1000)
		go func() {
			defer close(next)
			f.installed(u.scaled(f.releases), func(r release) bool { next <- r; return true })
		}()
		copied, err := d.conn.CopyFrom(b.Context(), pgx.Identifier{"release"}, []string{"namespace_id", "name", "version", "key"},
			pgx.CopyFromFunc(func() ([]any, error) {
				r, ok := <-next
				if !ok {
					return nil, nil
				}
				key, err := version.Key(f.scheme, r.version)
				return []any{ids[r.namespace], r.name, r.version, key}, err
			}))
		if err != nil {
			b.Fatal(err)
		}
		n += int(copied)
	}
	d.exec(b, "VACUUM ANALYZE release")
	return n
}

// namespaces makes the namespaces and returns their ids.
func (d *database) namespaces(b testing.TB, u universe) map[string]int16 {
	b.Helper()
	ids := make(map[string]int16)
	for _, f := range u.families {
		for _, name := range f.namespaces {
			var id int16
			err := d.conn.QueryRow(b.Context(), `INSERT INTO namespace (name, scheme) VALUES ($1, $2) RETURNING id`, name, string(f.scheme)).Scan(&id)
			if err != nil {
				b.Fatal(err)
			}
			ids[name] = id
		}
	}
	return ids
}

func (d *database) exec(b testing.TB, statement string) {
	b.Helper()
	if _, err := d.conn.Exec(b.Context(), statement); err != nil {
		b.Fatal(err)
	}
}

// apply brings a feed up to date.
func (d *database) apply(b testing.TB, content store.FeedContent) store.Delta {
	b.Helper()
	delta, err := d.store.ApplyFeed(b.Context(), content)
	if err != nil {
		b.Fatal(err)
	}
	return delta
}

// cpuSeconds returns the processor time that the server's sessions and this process have used so far: on a machine that
// others use too, what a measurement takes by the clock says little.
func (d *database) cpuSeconds(b testing.TB) float64 {
	b.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	ticks := 0
	for _, process := range processes {
		stat, err := os.ReadFile(filepath.Join(process, "stat"))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): the fields from the third on
		fields := strings.Fields(rest)
		if filepath.Base(process) != strconv.Itoa(os.Getpid()) && fields[1] != strconv.Itoa(d.server.PID()) {
			continue
		}
		title, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || bytes.HasPrefix(title, []byte("postgres: ")) && !bytes.HasPrefix(title, []byte("postgres: trawl ")) {
			continue // what the server does in the background
		}
		for _, field := range fields[11:13] {
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
	}
	const ticksPerSecond = 100 // USER_HZ
	return float64(ticks) / ticksPerSecond
}

// explainEnv names the variable that, if set, names a file that gets how Postgres ran what took longer than a tenth
// of a second.
const explainEnv = "TRAWL_BENCH_EXPLAIN"

func explain() map[string]string {
	if os.Getenv(explainEnv) == "" {
		return nil
	}
	return map[string]string{
		"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "100ms", "auto_explain.log_analyze": "on",
		"auto_explain.log_buffers": "on", "auto_explain.log_timing": "on", "log_min_messages": "log",
	}
}

func saveLog(b testing.TB, dir string) {
	file := os.Getenv(explainEnv)
	if file == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		b.Error(err)
	}
}
