package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 99) + "\n"
	for range 3 * MaxBytes / len(line) {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.Write([]byte("the end\n"))
	l.Close()
	l.Write([]byte("after the end\n"))
	var total int64
	names, _ := filepath.Glob(path + "*")
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if len(names) != 2 || total > 2*MaxBytes {
		t.Errorf("%q hold %d bytes", names, total)
	}
	if tail := l.Tail(); !strings.HasSuffix(tail, "the end\nafter the end") || strings.HasPrefix(tail, "x\n") || len(tail) > tailBytes {
		t.Errorf("tail of %d bytes: …%s", len(tail), tail[max(0, len(tail)-30):])
	}
}

// TestReopen: the log of the process before is carried on, and is none of this one's tail.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, word := range []string{"first\n", "second\n"} {
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		l.Write([]byte(word))
		if got := l.Tail(); got != strings.TrimSpace(word) {
			t.Errorf("tail %q", got)
		}
		l.Close()
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first\nsecond\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Open(filepath.Join(path, "below a file")); err == nil {
		t.Error("opened")
	}
}
