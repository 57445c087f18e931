// Package leaktest provides one check to tests: that what a test started is gone when it ends,
// goroutines, open files and child processes.
//
// It is imported by tests alone, and by tests that do not run in parallel.
package leaktest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long things may take to go.
const patience = 5 * time.Second

// Check notes what there is, and fails the test if there is more when it ends, cleanups that were
// registered after this call included. Files and children are looked at on Linux alone.
func Check(tb testing.TB) {
	tb.Helper()
	before := take()
	tb.Cleanup(func() {
		if tb.Failed() {
			return // its first complaint is the one to read
		}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var left []string
		for begin := time.Now(); time.Since(begin) < patience; <-tick.C {
			if left = take().beyond(before); len(left) == 0 {
				return
			}
		}
		tb.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	})
}

// snapshot is what the process holds: a description of each thing, and how many there are of it.
type snapshot map[string]int

func take() snapshot {
	s := snapshot{}
	s.goroutines()
	s.links("/proc/self/fd/*", "open file")
	children, _ := filepath.Glob("/proc/self/task/*/children")
	for _, c := range children {
		b, _ := os.ReadFile(c)
		for _, pid := range strings.Fields(string(b)) {
			s["child process "+pid]++
		}
	}
	return s
}

// goroutines counts goroutines by the functions on their stacks, less the runtime's own and ours.
func (s snapshot) goroutines() {
	buf := make([]byte, 8<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, stack := range strings.Split(string(buf), "\n\n")[1:] {
		if strings.Contains(stack, "testing.(*M).") || strings.Contains(stack, "os/signal.") {
			continue
		}
		var frames []string
		for _, line := range strings.Split(stack, "\n")[1:] {
			if !strings.HasPrefix(line, "\t") {
				name, _, _ := strings.Cut(line, " in goroutine ")
				if i := strings.LastIndexByte(name, '('); i > 0 {
					name = name[:i]
				}
				frames = append(frames, name)
			}
		}
		s["goroutine "+strings.Join(frames, " < ")]++
	}
}

// links counts symbolic links by where they point. Pollers and the runtime's own come and go.
func (s snapshot) links(pattern, what string) {
	paths, _ := filepath.Glob(pattern)
	for _, p := range paths {
		to, err := os.Readlink(p)
		if err != nil || strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/proc/") {
			continue
		}
		s[what+" "+to]++
	}
}

// beyond describes what s has more of than before.
func (s snapshot) beyond(before snapshot) []string {
	var more []string
	for what, n := range s {
		if extra := n - before[what]; extra > 0 {
			more = append(more, fmt.Sprintf("%d × %s", extra, what))
		}
	}
	slices.Sort(more)
	return more
}
