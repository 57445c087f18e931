package version

import (
	"os"
	"path/filepath"
	"testing"
)

// sharedFile opens a file of the real data that may lie beside the repository, or skips the test.
func sharedFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join(sharedDir(t), filepath.FromSlash(name)))
	if err != nil {
		t.Skipf("SKIPPED: no real data to read: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// sharedDir returns ../shared/data as seen from the folder of go.mod.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "..", "shared", "data")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}
