package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell returns a process that runs a script, which says "up" when it can be told to stop.
func shell(t *testing.T, script string) *process {
	t.Helper()
	dir := t.TempDir()
	return &process{program: "/bin/sh", args: []string{"-c", script}, dir: dir, env: os.Environ(), log: filepath.Join(dir, "log")}
}

// run launches a process and waits until it says "up".
func run(t *testing.T, p *process) {
	t.Helper()
	if err := p.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.signal(syscall.SIGKILL)
		<-p.done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := until(ctx, func() (bool, error) {
		text, err := os.ReadFile(p.log)
		return strings.Contains(string(text), "up"), err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStop(t *testing.T) {
	for _, test := range []struct {
		name, script string
		fails        string // what the error says
	}{
		{"in order", `trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done`, ""},
		{"by the signal", `echo up; while :; do sleep 0.01; done`, ""},
		{"with the shell's number for the signal", `trap 'exit 143' TERM; echo up; while :; do sleep 0.01; done`, ""},
		{"with an error", `trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done`, "exit status 3"},
		{"never", `trap '' TERM; echo up; while :; do sleep 0.01; done`, "was killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := shell(t, test.script)
			run(t, p)
			pids := p.pids()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := p.stop(ctx)
			if (test.fails == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("error %v, want one that says %q", err, test.fails)
			}
			gone(t, pids)
			if p.pids() != nil {
				t.Errorf("processes %v", p.pids())
			}
		})
	}
}

// TestGroup: what a process started dies with it.
func TestGroup(t *testing.T) {
	p := shell(t, `sleep 1000 & echo $! > child; echo up; wait`)
	run(t, p)
	text, err := os.ReadFile(filepath.Join(p.dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	var child int
	for _, digit := range strings.TrimSpace(string(text)) {
		child = 10*child + int(digit-'0')
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.done()
	gone(t, []int{child})
	if err := p.launch(t.Context()); err != nil { // it can be started again, and its log goes on
		t.Fatal(err)
	}
	if text, err := os.ReadFile(p.log); err != nil || !strings.HasPrefix(string(text), "up\n") {
		t.Errorf("log %q, %v", text, err)
	}
}

func TestNoProgram(t *testing.T) {
	p := &process{program: "/nonexistent", log: filepath.Join(t.TempDir(), "log")}
	if err := p.launch(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Error(err)
	}
	if err := p.stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skipf("SKIPPED, there is nothing to read: %v", err)
	}
	for begin := time.Now(); time.Since(begin) < 30*time.Millisecond; {
	}
	cpu, err := cpuTime(os.Getpid())
	if err != nil || cpu < 10*time.Millisecond || cpu > time.Hour {
		t.Errorf("%s of CPU, %v", cpu, err)
	}
	rss, peak := procBytes(os.Getpid(), "status", "VmRSS:"), procBytes(os.Getpid(), "status", "VmHWM:")
	if rss < 1<<20 || rss > peak {
		t.Errorf("%d bytes resident, %d at most", rss, peak)
	}
	if n := procBytes(os.Getpid(), "smaps_rollup", "Pss:"); n < 1<<20 {
		t.Errorf("%d bytes in proportion", n)
	}
}
