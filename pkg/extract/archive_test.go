package extract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Entries of archives, for tests.

func file(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), PAXRecords: map[string]string{contentKey: content}}
}

// contentKey is under which a header carries the content of its file to pack.
const contentKey = "TRAWL.content"

func dir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }

func symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}
}

func hardlink(name, target string) tar.Header {
	return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}
}

func fifo(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeFifo} }

// pack returns an archive with the entries.
func pack(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := h.PAXRecords[contentKey]
		h.PAXRecords = nil
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Close()
	return b.Bytes()
}

func zstandard(t testing.TB, content []byte, options ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(content, nil)
}

// opener opens a layer that is in memory.
func opener(layer []byte) Opener {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }
}

// analyze is Layer for layers that can be read.
func analyze(t testing.TB, archive []byte) (inventory.Layer, Stats) {
	t.Helper()
	layer, stats, err := Layer(t.Context(), opener(archive), Blob{}, limits.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return layer, stats
}

// printed returns what a layer says, a line each: "database PATH: NAME…", "release PATH: ID", "removed PATH",
// "opaque PATH", "problem PATH: TEXT".
func printed(l inventory.Layer) (lines []string) {
	for _, r := range l.Releases {
		lines = append(lines, "release "+r.Path+": "+r.Distribution.ID)
	}
	for _, db := range l.Databases {
		var names []string
		for _, p := range db.Packages {
			names = append(names, p.Name)
		}
		lines = append(lines, strings.TrimSpace("database "+db.Path+": "+strings.Join(names, " ")))
	}
	for _, p := range l.Removed {
		lines = append(lines, "removed "+p)
	}
	for _, p := range l.Opaque {
		lines = append(lines, "opaque "+p)
	}
	for _, p := range l.Problems {
		lines = append(lines, "problem "+p.Path+": "+p.Detail)
	}
	return lines
}

// Contents of files, for tests.
const (
	debianRelease = "ID=debian\nVERSION_ID=12\n"
	alpineRelease = "ID=alpine\nVERSION_ID=3.20.3\n"
)

func status(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString("Package: " + n + "\nStatus: install ok installed\nVersion: 1\n\n")
	}
	return b.String()
}

func installed(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString("P:" + n + "\nV:1-r0\n\n")
	}
	return b.String()
}
