// Package postgres provides a private PostgreSQL server as a child of this process, started from the
// binaries that are installed on the machine.
//
// The server listens on one Unix socket in a directory that only its own account may enter, and on no
// network. Its data survive kill -9 of this process, of the server, or of both: what was committed is
// on disk, and the next [Start] ends what was left running and recovers.
//
// It does not download PostgreSQL, upgrade the data of another major version, or keep two processes off
// the same directory; the caller holds a lock for that (package datadir). It needs a Unix system.
//
// # Signals
//
// The server is in a process group of its own, so that an interrupt at the terminal reaches this
// process alone, which then stops the server last. A supervisor must do likewise: under systemd set
// KillMode=mixed, for PostgreSQL takes the SIGTERM that the default sends to all processes of a unit
// for a request to refuse new sessions from then on.
//
// # Layout
//
//	DIR/data             the database cluster, mode 0700, owned by the account the server runs as
//	DIR/run              the socket; a directory under os.TempDir where DIR is too long for one
//	DIR/init-*           a cluster in the making; removed when found at a start
//	DIR/postgres.log     what the server says, and .1 before it; at most 20 MB together
//	DIR/local.conf       optional: settings of the operator's own, which win over ours; the account
//	                     must be able to read it
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/logfile"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// superuser and database are the names that every cluster of ours has. The port is only a part of the
// socket's name.
const (
	superuser = "trawl"
	database  = "trawl"
	port      = "5432"
)

// stderrGrace is how long the output of a server that has ended is still read, should a process of its
// hold it open.
const stderrGrace = 2 * time.Second

// quitGrace is how long the server may take to end after SIGQUIT, which it answers without a
// checkpoint; by itself it kills a backend that is stuck after 5 seconds.
const quitGrace = 10 * time.Second

// Config says where a server lives and how. Only Dir is required.
type Config struct {
	// Dir holds everything of the server; see the package comment. Made if missing. One process at a
	// time may use it.
	Dir string
	// BinDir is the directory of the binaries initdb and postgres. Empty: they are looked for on PATH,
	// then where the packages of Debian, Red Hat, Alpine, Homebrew and Postgres.app put them, the
	// newest first; if Dir holds data, of the major version that made them.
	BinDir string
	// Account is the user the server runs as where this process is root, whom PostgreSQL refuses to
	// serve. Empty: postgres, or nobody where there is no such user. Not looked at otherwise.
	Account string
	// Scratch is for tests: the data need not survive a crash of the machine, and the server takes
	// little memory. Small commits are some five times as fast.
	Scratch bool
	// Settings are settings of postgresql.conf that win over ours, such as "shared_buffers": "1GB".
	Settings map[string]string
}

// Server is a running PostgreSQL server. Safe for concurrent use. Whoever started it stops it.
type Server struct {
	dir       string
	socketDir string
	binaries  installation
	process   *process
	log       *logfile.File
	stopping  atomic.Bool
	cleanup   sync.Once
}

// Start starts the server of cfg.Dir, making the cluster and its database if need be, and returns when
// it takes connections. ctx bounds the start alone, crash recovery included; the server runs until
// [Server.Stop], or until this process ends. A failed start leaves nothing running, and its error ends
// with the last lines of the server's log.
//
// It fails with [ErrNotInstalled] (fault.NotFound) where there are no binaries, with fault.Unsupported
// where the data are of a major version that is not installed, and with fault.Invalid where the account
// of the server cannot enter the directory.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fault.Wrap("start postgres in", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	dataDir := filepath.Join(dir, "data")
	binaries, err := find(ctx, cfg.BinDir, majorOf(dataDir))
	if err != nil {
		return nil, err
	}
	as, err := accountFor(ctx, dir, cfg.Account, binaries)
	if err != nil {
		return nil, err
	}
	if err := endSurvivors(ctx, dir); err != nil {
		return nil, err
	}
	if err := initialize(ctx, dir, binaries, as, cfg.Scratch); err != nil {
		return nil, err
	}
	socketDir, err := makeSocketDir(dir, as)
	if err != nil {
		return nil, err
	}
	if err := writeSettings(dataDir, as, settings(cfg)); err != nil {
		return nil, err
	}
	return launchServer(ctx, dir, socketDir, binaries, as)
}

// launchServer starts the postmaster and waits until its database can be used.
func launchServer(ctx context.Context, dir, socketDir string, binaries installation, as account) (*Server, error) {
	log, err := logfile.Open(filepath.Join(dir, "postgres.log"))
	if err != nil {
		return nil, err
	}
	// Not bound to ctx: that is about the launch.
	cmd := exec.Command(binaries.path("postgres"), //nolint:noctx // it is ended by Stop
		append([]string{"-D", filepath.Join(dir, "data")}, arguments(socketDir)...)...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.Stderr = log
	cmd.SysProcAttr = as.attributes()
	cmd.WaitDelay = stderrGrace
	// SIGINT asks for a fast shutdown: sessions are cut, a checkpoint is written. Should the next start
	// come sooner than that ends, it cuts it short.
	p, err := launch(cmd, syscall.SIGINT)
	if err != nil {
		log.Close()
		return nil, fault.New(fault.Unavailable, "run", cmd.Path, err)
	}
	s := &Server{dir: dir, socketDir: socketDir, binaries: binaries, process: p, log: log}
	if err := s.awaitReady(ctx); err != nil {
		err = s.withLog(err)
		s.kill()
		return nil, err
	}
	return s, nil
}

// awaitReady returns when the server takes connections and the database is there.
func (s *Server) awaitReady(ctx context.Context) error {
	// Each refusal is a line in the server's log, so that a long recovery is asked about less and less
	// often.
	for pause := 5 * time.Millisecond; ; pause = min(pause*3/2, time.Second/4) {
		conn, err := pgx.Connect(ctx, s.DatabaseDSN("postgres"))
		if err == nil {
			defer conn.Close(ctx)
			return createDatabase(ctx, conn)
		}
		if !isStarting(err) && ctx.Err() == nil {
			return fault.New(fault.Unavailable, "connect to the server in", s.dir, err)
		}
		select {
		case <-s.process.done:
			return fault.Newf(fault.Unavailable, "run", s.binaries.path("postgres"), "the server ended: %w", exitError(s.process.err))
		case <-ctx.Done():
			return fault.Newf(fault.KindOf(ctx.Err()), "wait for the server in", s.dir, "%w (last answer: %v)", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// isStarting reports whether a server that is starting may refuse a connection with err: there is no
// socket yet, nobody listens on it yet, or the server says so (SQLSTATE 57P03, cannot_connect_now). One
// that is about to end may cut the connection.
func isStarting(err error) bool {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code == "57P03"
	}
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func createDatabase(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
	return err
}

// DSN returns the address of the database "trawl" as a postgres:// URL with every part that matters
// spelled out, so that PGHOST and its like in the environment change nothing.
func (s *Server) DSN() string { return s.DatabaseDSN(database) }

// DatabaseDSN is DSN for another database of the same server.
func (s *Server) DatabaseDSN(name string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + name}
	query := url.Values{"host": {s.socketDir}, "port": {port}, "sslmode": {"disable"}}.Encode()
	u.RawQuery = strings.ReplaceAll(query, "+", "%20") // PostgreSQL's URLs are not forms
	return u.String()
}

// Version returns the version of the server, such as "15.14".
func (s *Server) Version() string { return s.binaries.version }

// PID returns the process id of the server's first process, the postmaster.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Done is closed when the server has ended, asked to or not. Then [Server.Err] says why.
func (s *Server) Done() <-chan struct{} { return s.process.done }

// Err returns nil while the server runs and after it was stopped, and else a fault.Unavailable that
// says how it ended and ends with the last lines of its log.
func (s *Server) Err() error {
	select {
	case <-s.process.done:
	default:
		return nil
	}
	if s.stopping.Load() {
		return nil
	}
	return s.withLog(fault.Newf(fault.Unavailable, "run postgres in", s.dir, "the server ended: %w", exitError(s.process.err)))
}

// Stop cuts the sessions, lets the server write a checkpoint and waits for it to end. When ctx ends
// first, the server is made to end without a checkpoint, which costs the next start a recovery and no
// data; that takes at most 12 seconds more. Stopping twice is no error.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	s.signal(syscall.SIGINT)
	select {
	case <-s.process.done:
		s.clean()
	case <-ctx.Done():
		s.kill()
	}
	return nil
}

// kill ends the server without a checkpoint, by force if it does not listen.
func (s *Server) kill() {
	s.stopping.Store(true)
	s.signal(syscall.SIGQUIT)
	select {
	case <-s.process.done:
	case <-time.After(quitGrace):
		s.signal(syscall.SIGKILL)
		<-s.process.done
	}
	s.clean()
}

// signal sends sig to the postmaster; one that has ended is none to send to.
func (s *Server) signal(sig syscall.Signal) { _ = s.process.cmd.Process.Signal(sig) }

// clean closes and removes what outlives the process.
func (s *Server) clean() {
	s.cleanup.Do(func() {
		s.log.Close()
		_ = os.RemoveAll(s.socketDir)
	})
}

// withLog adds the last lines of the server's log to err, which say what the exit status does not.
func (s *Server) withLog(err error) error {
	tail := s.log.Tail()
	if tail == "" {
		return err
	}
	return fmt.Errorf("%w; its log ends:\n%s", err, tail)
}

// exitError says in words how a process ended.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
