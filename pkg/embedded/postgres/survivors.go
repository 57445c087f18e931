package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// endSurvivors ends the server processes that an earlier process of ours left in dir when it was
// killed, and removes the lock file of one that is gone but whose number now belongs to another
// program. SIGQUIT makes them end without a checkpoint; the next start recovers.
func endSurvivors(ctx context.Context, dir string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	told := map[int]bool{}
	for {
		pids, err := survivors(dir)
		if err != nil {
			return fault.Wrap("look for servers left in", dir, err)
		}
		if len(pids) == 0 {
			return dropStaleLock(filepath.Join(dir, "data", "postmaster.pid"))
		}
		for _, pid := range pids {
			sig := syscall.SIGQUIT
			if time.Since(begin) > quitGrace {
				sig = syscall.SIGKILL
			} else if told[pid] {
				continue
			}
			told[pid] = true
			if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fault.New(fault.Conflict, "stop", fmt.Sprintf("the server (process %d) that another process left in %s", pid, dir), err)
			}
		}
		select {
		case <-ctx.Done():
			return fault.Wrap("stop the servers left in", dir, ctx.Err())
		case <-tick.C:
		}
	}
}

// dropStaleLock removes the server's lock file where the process it names lives and is, as no survivor
// was found, none of ours. The server itself takes any living process for a rival. A lock whose process
// is gone is left to the server, which looks for stray backends first.
func dropStaleLock(path string) error {
	pid := lockedBy(path)
	if pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil
	}
	return os.Remove(path)
}

// lockedBy returns the process that a postmaster.pid names on its first line, or 0.
func lockedBy(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}
