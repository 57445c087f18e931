package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

// debianImage is an application image on Debian 12 as a build makes it: a minimal system, and a layer with what more
// packages change in it.
type debianImage struct {
	base, app         string // the layers, tar files with gzip
	baseList, appList string // what dpkg-query lists with each layer on top: "name version architecture" a line
}

// makeDebian returns the image, which is made from the package mirror where it is not kept from an earlier run. Where
// that is not possible the test is skipped.
func makeDebian(t *testing.T) debianImage {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("no real Debian is tested: there is no place to keep one:", err)
	}
	dir := filepath.Join(cache, "trawl-test")
	name := func(suffix string) string { return filepath.Join(dir, "bookworm-"+suffix) }
	made := debianImage{name("base.tar.gz"), name("app.tar.gz"), name("base.list"), name("app.list")}
	if _, err := os.Stat(made.appList); err == nil {
		return made
	}
	for _, program := range []string{"mmdebstrap", "dpkg-query"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("no real Debian is tested:", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(dir, "making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	if err := made.make(t, work); err != nil {
		t.Fatal(err)
	}
	return made
}

// make makes the two systems, each as a tar file, and of them the layers. What it leaves is complete: the list of
// packages comes last.
func (d debianImage) make(t *testing.T, work string) error {
	base, app := filepath.Join(work, "base.tar"), filepath.Join(work, "app.tar")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	g, making := errgroup.WithContext(ctx)
	for file, packages := range map[string]string{base: "apt", app: "apt,ca-certificates,curl"} {
		g.Go(func() error {
			out, err := exec.CommandContext(making, "mmdebstrap", "--quiet", "--variant=minbase", "--include="+packages, "bookworm", file).CombinedOutput()
			if err != nil {
				return fmt.Errorf("mmdebstrap: %w: %s", err, out)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Skip("no real Debian is tested:", err)
	}
	before, err := contents(base)
	if err != nil {
		return err
	}
	everything := func(*tar.Header, [sha256.Size]byte) bool { return true }
	changed := func(h *tar.Header, sum [sha256.Size]byte) bool {
		return h.Typeflag != tar.TypeDir && before[h.Name] != sum
	}
	if err := errors.Join(writeLayer(d.base, base, everything), writeLayer(d.app, app, changed)); err != nil {
		return err
	}
	return errors.Join(listPackagesOf(ctx, base, d.baseList), listPackagesOf(ctx, app, d.appList))
}

// listPackagesOf writes to a file what dpkg-query says is installed in a root file system.
func listPackagesOf(ctx context.Context, from, file string) error {
	admin := from + ".dpkg"
	if err := extractAdmin(from, admin); err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, "dpkg-query", "--admindir="+admin, "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version} ${Architecture}\n").Output()
	if err != nil {
		return err
	}
	var installed strings.Builder
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) == 4 && strings.HasSuffix(f[0], "i") {
			fmt.Fprintln(&installed, strings.Join(f[1:], " "))
		}
	}
	return os.WriteFile(file, []byte(installed.String()), 0o600)
}

// walkTar calls visit with each member of a tar file.
func walkTar(file string, visit func(h *tar.Header, content io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(h, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
}

// contents returns the checksums of all members of a tar file, of their content and of where they link to.
func contents(file string) (map[string][sha256.Size]byte, error) {
	sums := make(map[string][sha256.Size]byte)
	err := walkTar(file, func(h *tar.Header, content io.Reader) error {
		sum, err := checksum(h, content)
		sums[h.Name] = sum
		return err
	})
	return sums, err
}

func checksum(h *tar.Header, content io.Reader) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	_, err = io.Copy(hash, io.MultiReader(strings.NewReader(string(h.Typeflag)+h.Linkname+"\n"), content))
	hash.Sum(sum[:0])
	return sum, err
}

// writeLayer writes the members of a tar file that are wanted.
func writeLayer(file, from string, wanted func(*tar.Header, [sha256.Size]byte) bool) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = walkTar(from, func(h *tar.Header, content io.Reader) error {
		var kept strings.Builder
		sum, err := checksum(h, io.TeeReader(content, &kept))
		if err != nil || !wanted(h, sum) {
			return err
		}
		return errors.Join(w.WriteHeader(h), second(io.WriteString(w, kept.String())))
	})
	return errors.Join(err, w.Close(), z.Close(), out.Close())
}

// extractAdmin writes dpkg's own files of a root file system to a directory.
func extractAdmin(from, dir string) error {
	return walkTar(from, func(h *tar.Header, content io.Reader) error {
		name, ok := strings.CutPrefix(strings.TrimPrefix(h.Name, "./"), "var/lib/dpkg/")
		if !ok || h.Typeflag != tar.TypeReg {
			return nil
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		b, err := io.ReadAll(content)
		return errors.Join(err, os.WriteFile(target, b, 0o600))
	})
}

// image returns an image for a platform with these layers.
func (d debianImage) image(t *testing.T, platform string, files ...string) v1.Image {
	t.Helper()
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	for _, file := range files {
		if err != nil {
			t.Fatal(err)
		}
		layer, openErr := tarball.LayerFromFile(file)
		if openErr != nil {
			t.Fatal(openErr)
		}
		image, err = mutate.AppendLayers(image, layer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}
