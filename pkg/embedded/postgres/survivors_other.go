//go:build unix && !linux

package postgres

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// survivors returns the postmaster that the lock file in dir names, if that process is one: its command
// line then names the directory.
func survivors(dir string) ([]int, error) {
	dataDir := filepath.Join(dir, "data")
	pid := lockedBy(filepath.Join(dataDir, "postmaster.pid"))
	if pid == 0 {
		return nil, nil
	}
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil || !strings.Contains(string(out), dataDir) {
		return nil, nil // ps fails where there is no such process
	}
	return []int{pid}, nil
}
