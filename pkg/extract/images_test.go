package extract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // makes a write-ahead log

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// TestImages counts the packages of real images against what the tools of the distributions list.
func TestImages(t *testing.T) {
	for _, c := range []struct {
		file     string
		packages int
		distro   string
		problems int
	}{
		{"alpine-3.3-node.docker-archive.tar", 47, "alpine:3.3", 0},
		{"alpine-3.16-python-gunicorn.docker-archive.tar", 36, "alpine:3.16", 0},
		{"alpine-3.9.6.docker-archive.tar", 14, "alpine:3.9", 0},
		{"alpine-3.15.11.docker-archive.tar", 14, "alpine:3.15", 0},
		{"alpine-3.20.3.docker-archive.tar", 14, "alpine:3.20", 0},
		{"alpine-3.10.docker-save.tar.gz", 14, "alpine:3.10", 0},
		{"debian-10-drupal.docker-archive.tar", 195, "debian:10", 0},
		{"debian-11-postgres15.docker-archive.tar", 147, "debian:11", 1}, // it has marks of a merge conflict in nine stanzas
		{"debian-12-python312-langflow.docker-archive.tar", 140, "debian:12", 0},
		{"ubuntu-18.04-guestbook.docker-archive.tar", 89, "ubuntu:18.04", 0},
		{"busybox-musl.rootfs.tar.gz", 0, "", 0},
	} {
		t.Run(c.file, func(t *testing.T) {
			layers := layersOf(t, realdata.Path(t, "images/"+c.file))
			stack := make([]*inventory.Layer, len(layers))
			for i, b := range layers {
				layer, _, err := Layer(t.Context(), opener(b), Blob{Digest: digest.SHA256(b), Size: int64(len(b))}, limits.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				stack[i] = &layer
			}
			inv := inventory.Squash(stack)
			if len(inv.Packages) != c.packages {
				t.Errorf("%d packages, want %d", len(inv.Packages), c.packages)
			}
			if ns, _ := inv.Distribution.Namespace(); ns != c.distro {
				t.Errorf("distribution %+v, want %s", inv.Distribution, c.distro)
			}
			if len(inv.Problems) != c.problems {
				t.Errorf("problems: %+v", inv.Problems)
			}
		})
	}
}

// layersOf returns the layers of an image in an archive of "docker save", in the order of their names, or the
// file itself if it is a layer.
func layersOf(t testing.TB, file string) (layers [][]byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(file, ".rootfs.") {
		return [][]byte{b}
	}
	archive := io.Reader(bytes.NewReader(b))
	if strings.HasSuffix(file, ".gz") {
		if archive, err = gzip.NewReader(archive); err != nil {
			t.Fatal(err)
		}
	}
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return layers
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".tar") || strings.HasSuffix(h.Name, ".tar.gz") {
			layer, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, layer)
		}
	}
}

// TestRoots counts the packages of real package databases, which the tools of their distributions, or simple ones,
// count too.
func TestRoots(t *testing.T) {
	for root, want := range map[string]struct {
		packages int
		distro   string
	}{
		"alpine-3.14-minirootfs":       {26, "alpine:3.14"},
		"alpine-3.16-python-gunicorn":  {36, "alpine:3.16"},
		"alpine-3.3-node":              {47, "alpine:3.3"},
		"centos-5":                     {110, "centos:5"},
		"debian-10-drupal":             {195, "debian:10"},
		"debian-11-postgres15":         {147, "debian:11"},
		"debian-12-python312-langflow": {140, "debian:12"},
		"debian-8-jira":                {316, "debian:8"},
		"opensuse-leap-15.5":           {132, "opensuse-leap:15.5"},
		"rocky-9.2":                    {141, "rocky:9"},
		"ubuntu-14.04-base-armhf":      {184, "ubuntu:14.04"},
		"ubuntu-18.04-guestbook":       {89, "ubuntu:18.04"},
	} {
		t.Run(root, func(t *testing.T) {
			dir := realdata.Path(t, "roots/"+root)
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
				t.Fatal(err)
			}
			layer, _ := analyze(t, b.Bytes())
			inv := inventory.Squash([]*inventory.Layer{&layer})
			if len(inv.Packages) != want.packages {
				t.Errorf("%d packages, want %d", len(inv.Packages), want.packages)
			}
			if n, ok := countStanzas(t, dir); ok && n != len(inv.Packages) {
				t.Errorf("%d packages, but %d stanzas", len(inv.Packages), n)
			}
			if ns, known := inv.Distribution.Namespace(); ns != want.distro || !known {
				t.Errorf("distribution %+v, want %s", inv.Distribution, want.distro)
			}
		})
	}
}

// countStanzas counts the stanzas of a text database the simple way.
func countStanzas(t *testing.T, dir string) (n int, ok bool) {
	t.Helper()
	for file, begin := range map[string]string{"var/lib/dpkg/status": "Package: ", "lib/apk/db/installed": "P:"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil {
			return strings.Count("\n"+string(text), "\n"+begin), true
		}
	}
	return 0, false
}

// TestRPMLog reads a database together with the write-ahead log beside it, which is needed and which alone is of no use.
func TestRPMLog(t *testing.T) {
	const path = "var/lib/rpm/rpmdb.sqlite"
	content, err := os.ReadFile(realdata.Path(t, "roots/rocky-9.2/"+path))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", copied)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{"PRAGMA journal_mode=WAL", "PRAGMA wal_checkpoint(TRUNCATE)", "DELETE FROM Packages WHERE hnum IN (SELECT hnum FROM Packages LIMIT 100)"} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	database, err1 := os.ReadFile(copied)
	log, err2 := os.ReadFile(copied + "-wal")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entries  []tar.Header
		packages int // -1 is no database
		problem  string
	}{
		"both":             {[]tar.Header{file(path, string(database)), file(path+"-wal", string(log))}, 41, ""},
		"the log first":    {[]tar.Header{file(path+"-wal", string(log)), file(path, string(database))}, 41, ""},
		"through a link":   {[]tar.Header{symlink("var/lib/rpm", "/opt"), file("opt/rpmdb.sqlite", string(database)), file("opt/rpmdb.sqlite-wal", string(log))}, 41, ""},
		"without its log":  {[]tar.Header{file(path, string(database))}, 141, ""},
		"an empty log":     {[]tar.Header{file(path, string(database)), file(path+"-wal", "")}, 141, ""},
		"the log alone":    {[]tar.Header{file(path+"-wal", string(log))}, -1, "problem var/lib/rpm/rpmdb.sqlite-wal: the database to which this log belongs is not in the layer"},
		"a log of nothing": {[]tar.Header{file(path+"-wal", "")}, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			layer, _ := analyze(t, pack(t, c.entries...))
			got := -1
			for _, db := range layer.Databases {
				got = len(db.Packages)
			}
			if got != c.packages {
				t.Errorf("%d packages, want %d", got, c.packages)
			}
			lines := printed(layer)
			if has := len(layer.Problems) > 0; has != (c.problem != "") || has && lines[len(lines)-1] != c.problem {
				t.Errorf("problems %+v, want %q", layer.Problems, c.problem)
			}
		})
	}
}
