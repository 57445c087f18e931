// Package crashtest provides kill -9 to tests: a test starts its own binary again in one of the roles
// that [Main] was given, reads what it prints, and kills it at a point of its choice.
//
// It is imported by tests alone.
package crashtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// roleVariable names the variable that holds the role of a child.
const roleVariable = "TRAWL_CRASHTEST_ROLE"

// Main is what TestMain calls. In a child it runs the role, with ctx ending when the parent lets go of
// the child's input, and exits with 1 if that returns an error; else it runs the tests.
func Main(m *testing.M, roles map[string]func(ctx context.Context, args []string) error) int {
	name, isChild := os.LookupEnv(roleVariable)
	if !isChild {
		return m.Run()
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := role(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Child is a process that runs a role.
type Child struct {
	tb    testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
	input io.Closer
	ended sync.Once
	err   error
}

// Start starts this test binary in a role. The child is killed when the test ends, if not before.
func Start(tb testing.TB, role string, args ...string) *Child {
	tb.Helper()
	cmd := exec.Command(os.Args[0], args...) //nolint:noctx // it is killed with the test
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c := &Child{tb: tb, cmd: cmd, lines: bufio.NewScanner(stdout), input: stdin}
	tb.Cleanup(func() {
		c.Kill()
		_ = c.End()
	})
	return c
}

// PID returns the child's process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Await reads what the child prints until a line "word rest" and returns the rest.
func (c *Child) Await(word string) string {
	c.tb.Helper()
	for c.lines.Scan() {
		if first, rest, _ := strings.Cut(c.lines.Text(), " "); first == word {
			return rest
		}
	}
	c.tb.Fatalf("the child ended without a word of %q: %v", word, c.lines.Err())
	return ""
}

// Rest returns the last whole line "word rest" that the child printed before it ended, and whether
// there was one. Call it after Kill.
func (c *Child) Rest(word string) (last string, ok bool) {
	for c.lines.Scan() {
		if first, rest, _ := strings.Cut(c.lines.Text(), " "); first == word {
			last, ok = rest, true
		}
	}
	return last, ok
}

// Kill kills the child with SIGKILL, and leaves what it printed to be read by Rest.
func (c *Child) Kill() { _ = c.cmd.Process.Kill() }

// Alive reports whether a process runs: one that has ended and that its parent has not yet asked about
// does not.
func Alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, state, _ := strings.Cut(string(stat), ") ") // proc_pid_stat(5): "pid (comm) state …"
		return !strings.HasPrefix(state, "Z")
	}
	return syscall.Kill(pid, 0) == nil
}

// End asks the child to end by closing its input, and waits for it. Once it has ended, it returns how
// that was.
func (c *Child) End() error {
	c.ended.Do(func() {
		_ = c.input.Close()
		for c.lines.Scan() {
		}
		c.err = c.cmd.Wait()
	})
	return c.err
}
