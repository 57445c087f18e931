package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--workers", "5", "--updaters", "0", "--argument", "worker=--layers=2", "--argument", "worker=--drain=1s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.Workers != 5 || o.Updaters != -1 || o.Coordinators != 2 {
		t.Errorf("%+v", o.Config)
	}
	if want := []string{"--layers=2", "--drain=1s"}; !slices.Equal(o.Arguments["worker"], want) {
		t.Errorf("arguments %q, want %q", o.Arguments["worker"], want)
	}
	for _, args := range [][]string{{"--argument", "worker"}, {"stray"}, {"--nonsense"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// TestShow: of a log, those lines are shown that tell of trouble, each once and whole.
func TestShow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var offset int64
	for _, step := range []struct{ add, want string }{
		{"level=INFO msg=leading\nlevel=WARN msg=\"lost hold\"\n", "w level=WARN msg=\"lost hold\"\n"},
		{"2026-01-01 00:00:00 ERROR Broker: no", ""}, // not whole yet
		{" disk\n", "w 2026-01-01 00:00:00 ERROR Broker: no disk\n"},
		{"{\"level\":\"fatal\",\"msg\":\"x\"}\n{\"level\":\"info\",\"msg\":\"ERRORS: 0\"}\n", "w {\"level\":\"fatal\",\"msg\":\"x\"}\n"},
		{strings.Repeat("x", 500) + " FATAL\n", "w " + strings.Repeat("x", longestLine) + "\n"},
	} {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(step.add); err != nil {
			t.Fatal(err)
		}
		file.Close()
		var out bytes.Buffer
		if offset, err = show(&out, "w", path, offset); err != nil {
			t.Fatal(err)
		}
		name, rest, _ := strings.Cut(out.String(), " ")
		if got := name + " " + strings.TrimLeft(rest, " "); strings.TrimSpace(got) != strings.TrimSpace(step.want) {
			t.Errorf("after %q: %q, want %q", step.add, got, step.want)
		}
	}
	if err := os.WriteFile(path, []byte("panic: anew\n"), 0o600); err != nil { // put aside and begun again
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := show(&out, "w", path, offset); err != nil || !strings.Contains(out.String(), "anew") {
		t.Errorf("%q, %v", out.String(), err)
	}
	if n, err := show(&out, "w", filepath.Join(t.TempDir(), "none"), 9); n != 0 || err != nil {
		t.Error(n, err)
	}
}
