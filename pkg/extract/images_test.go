package extract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// sharedData returns a path among the real data beside the repository.
func sharedData(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	file := filepath.Join(filepath.Dir(dir), "shared/data", filepath.FromSlash(path))
	if _, err := os.Stat(file); err != nil {
		t.Skipf("SKIPPED, no real data: %v", err)
	}
	return file
}

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
			layers := layersOf(t, sharedData(t, "images/"+c.file))
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
