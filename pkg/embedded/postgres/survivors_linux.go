package postgres

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// survivors returns the server processes, backends included, that work in a directory below dir: all of
// them change to their data directory, and backends that outlived their postmaster, whom no lock file
// names, are still there. Processes of other programs are not looked at, such as the shell of an
// operator who stands in the directory.
func survivors(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process that ended meanwhile, or that another user owns, cannot be read, and is none.
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err != nil || !strings.HasPrefix(cwd, dir+"/") {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err != nil {
			continue
		}
		switch strings.TrimSpace(string(comm)) {
		case "postgres", "postmaster":
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
