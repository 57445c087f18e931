// Package realdata finds the real images, package databases and advisories that tests read where they lie beside the
// repository. They are not part of it: where they are missing, tests that need them are skipped, and say so.
package realdata

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of a file or directory of the real data, "" for all of it. The name has slashes. Where it is not
// there the test is skipped.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join(moduleRoot(tb), "..", "shared", "data", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			tb.Fatal(err)
		}
		tb.Skip("SKIPPED, no real data beside the repository:", err)
	}
	return path
}

// Open opens a file of the real data, and closes it with the test. Where it is not there the test is skipped.
func Open(tb testing.TB, name string) *os.File {
	tb.Helper()
	file, err := os.Open(Path(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = file.Close() })
	return file
}

// moduleRoot returns the directory of go.mod.
func moduleRoot(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}
