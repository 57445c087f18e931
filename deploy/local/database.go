package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// startPostgres starts PostgreSQL, on a socket that the other members can reach.
func (c *Cluster) startPostgres(ctx context.Context) error {
	settings := map[string]string{
		"max_connections": "400", // each process has a pool of up to 16
	}
	if c.config.Scratch { // a kill would lose what the system was not given yet
		settings["synchronous_commit"], settings["full_page_writes"] = "on", "on"
	}
	for name, value := range c.config.PostgresSettings {
		settings[name] = value
	}
	dir := filepath.Join(c.config.Dir, Postgres)
	log := filepath.Join(c.config.Dir, "logs", Postgres+".log")
	// The library keeps the log; here it stands beside the others.
	if err := os.Symlink(filepath.Join(dir, "postgres.log"), log); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d := &database{config: postgres.Config{Dir: dir, Scratch: c.config.Scratch, Settings: settings}}
	m := &member{name: Postgres, role: Postgres, part: d}
	m.answers = func(context.Context) error { return d.err() } // a launch waits until it answers
	if err := c.serve(ctx, m); err != nil {
		return err
	}
	c.dsn = d.running().DSN()
	return nil
}

// UseDatabase makes an empty database, and has roles that start from now on work with it.
func (c *Cluster) UseDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, c.dsn)
	if err != nil {
		return fault.New(fault.Unavailable, "connect to", Postgres, err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fault.New(fault.Unavailable, "make database", name, err)
	}
	m, err := c.member(Postgres)
	if err != nil {
		return err
	}
	d, ok := m.part.(*database)
	if !ok {
		return fault.Newf(fault.Unsupported, "make database", name, "%s is not of this cluster", Postgres)
	}
	c.mu.Lock()
	c.dsn = d.running().DatabaseDSN(name)
	c.mu.Unlock()
	return c.writeSettings()
}

// database is a PostgreSQL server that package postgres runs.
type database struct {
	config postgres.Config

	mu      sync.Mutex
	server  *postgres.Server // that was launched last
	resumer *resumer         // while it is paused
}

func (d *database) running() *postgres.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server
}

// launch starts the server and waits until it answers, recovery included.
func (d *database) launch(ctx context.Context) error {
	if before := d.running(); before != nil {
		_ = before.Stop(ctx) // it was killed; what it left is removed
	}
	s, err := postgres.Start(ctx, d.config)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.server = s
	return nil
}

func (d *database) stop(ctx context.Context) error {
	s := d.running()
	if s == nil {
		return nil
	}
	return s.Stop(ctx)
}

// signal reaches the backends too, which are in process groups of their own.
func (d *database) signal(signal syscall.Signal) error {
	pids := d.pids()
	if signal == syscall.SIGCONT {
		return d.resume()
	}
	var failed []error
	for _, pid := range pids { // the postmaster first: it makes no more of them then
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			failed = append(failed, fault.New(fault.Unavailable, "signal", "process "+strconv.Itoa(pid), err))
		}
	}
	if signal == syscall.SIGKILL {
		return errors.Join(append(failed, d.resume())...)
	}
	if signal == syscall.SIGSTOP && len(pids) > 0 {
		failed = append(failed, d.pause(d.pids()))
	}
	return errors.Join(failed...)
}

func (d *database) done() <-chan struct{} {
	if s := d.running(); s != nil {
		return s.Done()
	}
	return nil
}

func (d *database) err() error {
	if s := d.running(); s != nil {
		return s.Err()
	}
	return nil
}

func (d *database) pids() []int {
	s := d.running()
	if s == nil {
		return nil
	}
	select {
	case <-s.Done():
		return nil
	default:
		return append([]int{s.PID()}, children(s.PID())...)
	}
}

// children returns the processes below one, on Linux (proc_pid_task(5)).
func children(pid int) []int {
	var out []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // it has ended
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				out = append(out, child)
				out = append(out, children(child)...)
			}
		}
	}
	return out
}

// resumer lets stopped processes go on when its input is closed: by resume, or by the end of the harness. Without it
// backends of a paused server would outlive a harness that was killed: they have no signal for that.
type resumer struct {
	cmd   *exec.Cmd
	input io.Closer
}

// pause notes that processes are stopped.
func (d *database) pause(pids []int) error {
	args := []string{"-c", `cat >/dev/null; kill -CONT "$@" 2>/dev/null; exit 0`, "sh"}
	for _, pid := range slices.Backward(pids) {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.Command("/bin/sh", args...) //nolint:noctx // it ends with its input
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fault.New(fault.Unavailable, "run", cmd.Path, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resumer = &resumer{cmd, input}
	return nil
}

// resume lets what was paused go on.
func (d *database) resume() error {
	d.mu.Lock()
	r := d.resumer
	d.resumer = nil
	d.mu.Unlock()
	if r == nil {
		return nil
	}
	_ = r.input.Close()
	if err := r.cmd.Wait(); err != nil {
		return fault.New(fault.Unavailable, "resume", Postgres, err)
	}
	return nil
}
