package postgres

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestParseVersion(t *testing.T) {
	for _, c := range []struct {
		line, version string
		major         int
	}{
		{"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", "15.14", 15},
		{"postgres (PostgreSQL) 17.2\n", "17.2", 17},
		{"postgres (PostgreSQL) 18beta1\n", "18beta1", 18},
		{"postgres (Homebrew) 9.6.24", "9.6.24", 9},
		{"psql (PostgreSQL) 15.14\n", "", 0},
		{"", "", 0},
	} {
		version, major, err := parseVersion(c.line)
		if version != c.version || major != c.major || (err != nil) != (c.major == 0) {
			t.Errorf("%q: %q, %d, %v", c.line, version, major, err)
		}
	}
}

func TestCandidates(t *testing.T) {
	root := t.TempDir()
	binary := func(mode os.FileMode, path ...string) {
		p := filepath.Join(append([]string{root}, path...)...)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"lib/14/bin", "lib/15/bin", "path"} {
		binary(0o755, dir, "initdb")
		binary(0o755, dir, "postgres")
	}
	binary(0o755, "clients", "initdb") // and no server
	binary(0o755, "off", "initdb")
	binary(0o644, "off", "postgres")
	path := strings.Join([]string{root + "/clients", root + "/off", root + "/path"}, string(os.PathListSeparator))
	got := candidates(path, []string{root + "/lib/*/bin", root + "/path", root + "/none/*"})
	want := []string{root + "/path", root + "/lib/14/bin", root + "/lib/15/bin"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	found := []installation{{dir: want[1], major: 14}, {dir: want[2], major: 15}}
	if got := newest(found, path); got.major != 15 {
		t.Errorf("off PATH: %+v", got)
	}
	if got := newest(append(found, installation{dir: want[0], major: 14}), path); got.dir != want[0] {
		t.Errorf("PATH comes first: %+v", got)
	}
}

func TestSocketDir(t *testing.T) {
	if got := socketDirFor("/var/lib/trawl/postgres", "/tmp"); got != "/var/lib/trawl/postgres/run" {
		t.Errorf("short: %s", got)
	}
	long := "/" + strings.Repeat("d", 100)
	a, b := socketDirFor(long+"/a", "/tmp"), socketDirFor(long+"/b", "/tmp")
	if a == b || a != socketDirFor(long+"/a", "/tmp") || !strings.HasPrefix(a, "/tmp/trawl-") {
		t.Errorf("long: %s and %s", a, b)
	}
}

// TestLongDir runs a server whose directory is too deep for a socket.
func TestLongDir(t *testing.T) {
	dir := filepath.Join(openDir(t), strings.Repeat("deep/", 20), "down")
	copyCluster(t, dir)
	s := mustStart(t, Config{Dir: dir, Scratch: true})
	mustConnect(t, s.DSN())
	if strings.Contains(s.socketDir, "deep") {
		t.Errorf("socket in %s", s.socketDir)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.socketDir); !os.IsNotExist(err) {
		t.Errorf("%s is left", s.socketDir)
	}
}

// TestSquattedSocketDir: whoever made the directory under /tmp before us does not get the server.
func TestSquattedSocketDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := "/" + strings.Repeat("d", 100)
	if err := os.Symlink(t.TempDir(), socketDirFor(dir, os.TempDir())); err != nil {
		t.Fatal(err)
	}
	if run, err := makeSocketDir(dir, account{uid: os.Geteuid()}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("%s, %v", run, err)
	}
}

// TestBlocked: root keeps its data where the server's account cannot go.
func TestBlocked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives up rights")
	}
	closed := filepath.Join(openDir(t), "root's own")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	as, err := lookup("")
	if err != nil {
		t.Fatal(err)
	}
	if err := as.blockedAt(closed); err == nil || !strings.Contains(err.Error(), closed+" (mode 0700, owner 0)") {
		t.Errorf("blockedAt: %v", err)
	}
	if err := as.blockedAt(filepath.Dir(closed)); err != nil {
		t.Errorf("above it: %v", err)
	}
	dir := filepath.Join(closed, "postgres")
	copyCluster(t, dir)
	s, err := Start(t.Context(), Config{Dir: dir, Scratch: true})
	if fault.KindOf(err) == fault.Invalid && strings.Contains(err.Error(), closed) {
		t.Skipf("no user namespaces here, and the error says what to do: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	execute(t, mustConnect(t, s.DSN()), "CREATE TABLE kept AS SELECT 1 AS n")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The directory is opened: the server now runs as the account, which takes the data over.
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	s = mustStart(t, Config{Dir: dir, Scratch: true})
	if got := value[int](t, mustConnect(t, s.DSN()), "SELECT n FROM kept"); got != 1 {
		t.Errorf("after the change of account: %d", got)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// And back.
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	s = mustStart(t, Config{Dir: dir, Scratch: true})
	if got := value[int](t, mustConnect(t, s.DSN()), "SELECT n FROM kept"); got != 1 {
		t.Errorf("and back: %d", got)
	}
}

func TestLookup(t *testing.T) {
	for _, name := range []string{"no-such-user-here", "root"} {
		if as, err := lookup(name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %+v, %v", name, as, err)
		}
	}
}

func TestRender(t *testing.T) {
	got := string(render([]setting{{"a", "1", "Because."}, {"b", `it's a \` + "\nbreak", ""}}))
	if want := "\n# Because.\na = '1'\nb = 'it''s a \\\\ break'\n"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestSharedMemory(t *testing.T) {
	if got := sharedMemory(filepath.Join(t.TempDir(), "none")); got != "posix" {
		t.Errorf("where it cannot be told: %s", got)
	}
}

func TestLockedBy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "postmaster.pid")
	if pid := lockedBy(path); pid != 0 {
		t.Errorf("no file: %d", pid)
	}
	for content, want := range map[string]int{"": 0, "1234\n/data\n": 1234, "-1234\n": 0, "x": 0, "99999999999999999999\n": 0} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid := lockedBy(path); pid != want {
			t.Errorf("%q: %d, want %d", content, pid, want)
		}
	}
	if err := endSurvivors(context.Background(), filepath.Dir(path)); err != nil {
		t.Errorf("nothing to end: %v", err)
	}
}
