package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// Media types as text, which documents and headers are made of here.
const (
	typeOCIIndex       = string(types.OCIImageIndex)
	typeDockerList     = string(types.DockerManifestList)
	typeOCIManifest    = string(types.OCIManifestSchema1)
	typeDockerManifest = string(types.DockerManifestSchema2)
	typeSchema1Signed  = string(types.DockerManifestSchema1Signed)
	typeSchema1        = string(types.DockerManifestSchema1)
	typeOCIConfig      = string(types.OCIConfigJSON)
	typeDockerConfig   = string(types.DockerConfigJSON)
	typeOCILayer       = string(types.OCIUncompressedLayer)
)

// entry is a member of a tar file. With a link it is a symbolic link, with hard a hard link; a name
// that ends in a slash is a directory.
type entry struct {
	name, content, link, hard string
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		case e.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, e.hard
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compress compresses b. For bzip2, which Go cannot write, it runs the program.
func compress(t testing.TB, b []byte, c tarfile.Compression) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch c {
	case tarfile.None:
		return b
	case tarfile.Gzip:
		w = gzip.NewWriter(&out)
	case tarfile.Zstd:
		w, err = zstd.NewWriter(&out)
	case tarfile.XZ:
		w, err = xz.NewWriter(&out)
	case tarfile.Bzip2:
		cmd := exec.Command("bzip2", "-c")
		cmd.Stdin = bytes.NewReader(b)
		packed, err := cmd.Output()
		if err != nil {
			t.Skip("the program bzip2 is needed to make a bzip2 file:", err)
		}
		return packed
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// layerTar returns the tar of a small layer that no other seed gives.
func layerTar(t testing.TB, seed byte) []byte {
	b := make([]byte, 3000)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return tarOf(t, entry{name: "etc/"}, entry{name: "etc/os-release", content: "ID=test\nVERSION_ID=" + string('0'+rune(seed)) + "\n"},
		entry{name: "data", content: string(b)})
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// configJSON returns the configuration of an image with these layers, given as tar files.
func configJSON(t testing.TB, p Platform, layers ...[]byte) string {
	t.Helper()
	diffIDs := []digest.Digest{}
	for _, l := range layers {
		diffIDs = append(diffIDs, digest.SHA256(l))
	}
	return mustJSON(t, map[string]any{
		"architecture": p.Architecture, "os": p.OS, "variant": p.Variant, "created": "2020-01-23T16:53:06.686519038Z",
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
}

// descriptorOf describes content in an OCI manifest or index.
func descriptorOf(mediaType, content string) descriptor {
	return descriptor{MediaType: mediaType, Digest: digest.SHA256([]byte(content)).String(), Size: int64(len(content))}
}

func manifestJSON(t testing.TB, config string, layers ...[]byte) string {
	t.Helper()
	m := map[string]any{"schemaVersion": 2, "mediaType": typeOCIManifest, "config": descriptorOf(typeOCIConfig, config)}
	list := []descriptor{}
	for _, l := range layers {
		list = append(list, descriptorOf(string(withCompression(types.OCIUncompressedLayer, tarfile.Sniff(l))), string(l)))
	}
	m["layers"] = list
	return mustJSON(t, m)
}

func indexJSON(t testing.TB, children ...descriptor) string {
	t.Helper()
	return mustJSON(t, map[string]any{"schemaVersion": 2, "mediaType": typeOCIIndex, "manifests": append([]descriptor{}, children...)})
}

func blobEntry(content string) entry {
	return entry{name: blobPath(digest.SHA256([]byte(content))), content: content}
}

func resolveLocal(t testing.TB, target Target, wanted Selection) (*Resolved, error) {
	t.Helper()
	a, err := OpenArchive(context.Background(), target, limits.Default())
	if err != nil {
		return nil, err
	}
	return a.Resolve(context.Background(), wanted)
}

// readLayer reads a layer, and verifies that its digest is that of the bytes or of what they inflate
// to, as it says.
func readLayer(t testing.TB, open func(context.Context, Layer) (io.ReadCloser, error), l Layer) {
	t.Helper()
	r, err := open(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if l.Size > 0 && int64(len(b)) != l.Size {
		t.Errorf("layer %s has %d bytes and not %d", l.Digest, len(b), l.Size)
	}
	if l.Inflated {
		inflated, err := tarfile.Inflate(bytes.NewReader(b), tarfile.Sniff(b))
		if err != nil {
			t.Fatal(err)
		}
		defer inflated.Close()
		if b, err = io.ReadAll(inflated); err != nil {
			t.Fatal(err)
		}
	}
	v := l.Digest.Verifier()
	v.Write(b)
	if err := v.Err(); err != nil {
		t.Error(err)
	}
}

func wantKind(t testing.TB, err error, want fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Fatalf("got kind %v of error %v, want %v", fault.KindOf(err), err, want)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q does not say %q", err, text)
	}
}
