package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// longestSocket is the most bytes of a socket's path that every system takes: macOS has 104 with the
// final zero, Linux 108 (unix(7)).
const longestSocket = 103

const socketName = ".s.PGSQL." + port

// socketDirFor returns the directory of the socket of the server in dir: below dir, or where that makes
// too long a path, one below tempDir whose name depends on dir alone, so that a killed process's is
// found and used again.
func socketDirFor(dir, tempDir string) string {
	run := filepath.Join(dir, "run")
	if len(filepath.Join(run, socketName)) <= longestSocket {
		return run
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(tempDir, "trawl-"+hex.EncodeToString(sum[:8]))
}

// makeSocketDir makes that directory, which the account alone may enter, and empties it of what a
// killed server left.
func makeSocketDir(dir string, as account) (string, error) {
	run := socketDirFor(dir, os.TempDir())
	if len(filepath.Join(run, socketName)) > longestSocket {
		return "", fault.Newf(fault.Invalid, "make a socket in", run, "the path is longer than a socket's may be (%d bytes): set TMPDIR to a shorter one", longestSocket)
	}
	err := os.Mkdir(run, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(run)
	if err != nil {
		return "", err
	}
	// The name below a directory for all is no secret: another user may have been there first.
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm() != 0o700 || ok && int(st.Uid) != os.Geteuid() && int(st.Uid) != as.uid {
		return "", fault.Newf(fault.Conflict, "make", run, "something is there that this process did not make: remove it")
	}
	for _, name := range []string{socketName, socketName + ".lock"} {
		if err := os.Remove(filepath.Join(run, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return run, as.own(run)
}
