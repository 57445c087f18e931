package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/limits"
)

var benchLimits = limits.Limits{}

// benchLayer returns a gzip layer: a Debian root file system with a compiler and Python, some 500 MB inflated, which is
// made once with mmdebstrap and kept in the user's cache directory. Where that cannot be made, it is an archive of
// this machine's /usr/share.
func benchLayer(b *testing.B) string {
	b.Helper()
	if file := os.Getenv(layerEnv); file != "" {
		return file
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, "trawl-bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "bookworm-gcc-python.tar.gz")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	tar := filepath.Join(b.TempDir(), "layer.tar")
	commands := [][]string{
		{"mmdebstrap", "--quiet", "--variant=minbase", "--include=gcc,g++,python3,perl,git", "bookworm", tar},
		{"sh", "-c", "gzip -6 <" + tar + " >" + file + ".new && mv " + file + ".new " + file},
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		commands[0] = []string{"tar", "-cf", tar, "-C", "/", "usr/share", "var/lib/dpkg/status"}
	}
	for _, c := range commands {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			b.Skipf("SKIPPED, no layer to measure with: %s: %v\n%s", c[0], err, out)
		}
	}
	return file
}
