package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// orphanVariable makes this test binary a harness that waits to be killed: it names the cluster's directory.
const orphanVariable = "TRAWL_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(orphanVariable); ok {
		if err := waitToBeKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// serversOnly is a cluster without roles. It needs no binary, and takes one that is there.
func serversOnly(dir string) Config {
	return Config{
		Dir: dir, Binary: os.Args[0], Scratch: true, Coordinators: -1, Workers: -1, Updaters: -1, Notifiers: -1, APIs: -1,
	}
}

// waitToBeKilled starts servers, pauses the one of several processes, prints them all, and waits.
func waitToBeKilled(dir string) error {
	c, err := Start(context.Background(), serversOnly(dir))
	if err != nil {
		return err
	}
	if err := c.Pause(Postgres); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "PIDS", strings.Trim(fmt.Sprint(c.pids()), "[]"))
	select {}
}

// pids are all processes of a cluster.
func (c *Cluster) pids() []int {
	var out []int
	for _, m := range c.all() {
		out = append(out, m.part.pids()...)
	}
	return out
}

// addresses are all addresses that a cluster listens on.
func (c *Cluster) addresses() []string {
	var out []string
	for _, a := range c.Addresses() {
		for _, address := range []string{a.Address, a.Introspection, a.Gossip} {
			if address != "" {
				out = append(out, address)
			}
		}
	}
	for _, m := range c.all() {
		for _, way := range m.links {
			out = append(out, way.address())
		}
	}
	return out
}

// start starts a cluster, which is closed when the test ends, or skips the test where something has to be installed
// first. Its files, temporary ones included, are below the directory that it returns.
func start(t *testing.T, config Config) (*Cluster, string) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED in short mode: it starts a whole cluster")
	}
	// Not t.TempDir: its name is too long for a socket, and the account of PostgreSQL may not enter it.
	top, err := os.MkdirTemp("", "trawl-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Mkdir(top+"/tmp", 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", top+"/tmp")
	config.Dir = top + "/c"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c, err := Start(ctx, config)
	if fault.KindOf(err) == fault.NotFound {
		t.Skipf("SKIPPED, something that a cluster needs is not installed (make deps): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, top
}

// gone waits until none of these processes lives.
func gone(t *testing.T, pids []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	var living []int
	err := until(ctx, func() (bool, error) {
		living = nil
		for _, pid := range pids {
			if alive(pid) {
				living = append(living, pid)
			}
		}
		return len(living) == 0, nil
	})
	if err != nil {
		t.Errorf("processes %v still live", living)
	}
}

// alive reports whether a process runs; one that ended and that nobody asked about yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// hide makes a PATH on which a program is not found, and everything else is.
func hide(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue // PATH names what is not there
		}
		for _, entry := range entries {
			if entry.Name() != program {
				_ = os.Symlink(filepath.Join(from, entry.Name()), filepath.Join(dir, entry.Name())) // the first one counts
			}
		}
	}
	t.Setenv("PATH", dir)
}
