package oci

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"alpine", "docker://a.example/b:1", "rootfs:/x", "aci:", "oci-dir:a:b", "registry:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			return
		}
		again, err := ParseTarget(target.String())
		if err != nil || again != target {
			t.Errorf("%q is %v, which is %v: %v", s, target, again, err)
		}
		if location, err := parseLocation(target.String()); err != nil || location.IsLocal() != target.IsLocal() {
			t.Errorf("%v as a location: %v, %v", target, location, err)
		}
	})
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "arm64", "linux/armhf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		if again, err := ParsePlatform(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, which is %v: %v", s, p, again, err)
		}
		if !(Selection{p}).Wants(p) {
			t.Errorf("%v does not want itself", p)
		}
	})
}

// FuzzResolve resolves arbitrary documents, whose children and configurations are the others.
func FuzzResolve(f *testing.F) {
	layer := []byte("layer")
	config := configJSON(f, amd64, layer)
	manifest := manifestJSON(f, config, layer)
	signed := sign(f, schema1JSON(f, []digest.Digest{digest.SHA256(layer), digest.Empty[0]}, []bool{false, true}))
	f.Add([]byte(indexJSON(f, descriptorOf(typeOCIManifest, manifest))), []byte(manifest), []byte(config), typeOCIIndex)
	f.Add([]byte(manifest), []byte{}, []byte(config), typeOCIManifest)
	f.Add([]byte(signed), []byte{}, []byte{}, typeSchema1Signed)
	f.Add([]byte(indexJSON(f, descriptorOf(typeSchema1, signed))), []byte(signed), []byte{}, "")
	f.Fuzz(func(t *testing.T, root, child, config []byte, contentType string) {
		doc, d, err := readDocument(root, contentType, digest.Digest{})
		if err != nil {
			return
		}
		w := walk{content: fuzzContent{child, config}}
		images, _, err := w.run(context.Background(), doc, &node{digest: d})
		if (err == nil) != (len(images) > 0) {
			t.Errorf("%d images and %v", len(images), err)
		}
		for _, image := range images {
			if image.Digest.IsZero() {
				t.Errorf("image %+v", image)
			}
			for _, l := range image.Layers {
				if l.Digest.IsZero() || l.Size < 0 {
					t.Errorf("layer %+v", l)
				}
			}
		}
	})
}

// fuzzContent answers any question with the same documents.
type fuzzContent struct{ child, configuration []byte }

func (c fuzzContent) manifest(context.Context, digest.Digest) ([]byte, string, error) {
	return c.child, "", nil
}

func (c fuzzContent) config(context.Context, digest.Digest, int64) ([]byte, error) {
	return c.configuration, nil
}

func FuzzSchema1(f *testing.F) {
	payload := schema1JSON(f, []digest.Digest{digest.SHA256(nil), digest.Empty[0]}, []bool{false, true})
	f.Add([]byte(payload))
	f.Add([]byte(sign(f, payload)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := parseSchema1(raw)
		if err != nil {
			return
		}
		if len(s.payload) > 2*len(raw) || len(s.layers) > maxLayers {
			t.Errorf("payload of %d bytes, %d layers", len(s.payload), len(s.layers))
		}
	})
}

// FuzzArchive opens arbitrary files as archives of all kinds, and reads what they are found to hold.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, dockerSave(f, tarfile.None)...))
	f.Add(compress(f, tarOf(f, twoImages(f)...), tarfile.Gzip))
	f.Add(tarOf(f, layoutEntries(f)...))
	f.Add(aciBytes(f, tarfile.XZ, ""))
	f.Add(rootFSBytes(f, tarfile.Zstd))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		l := limits.Limits{InflatedBytes: 4 << 20, Entries: 1000}
		for _, scheme := range []Scheme{DockerArchive, OCIArchive, ACI, RootFS} {
			a, err := OpenArchive(t.Context(), Target{scheme, path}, l)
			if err != nil {
				continue
			}
			r, err := a.Resolve(t.Context(), nil)
			if err != nil {
				continue
			}
			for _, layer := range r.Images[0].Layers {
				rc, err := a.Open(t.Context(), layer)
				if err != nil {
					continue
				}
				var b bytes.Buffer
				if n, err := b.ReadFrom(rc); err == nil && layer.Size > 0 && n != layer.Size {
					t.Errorf("%s: %d bytes of %+v", scheme, n, layer)
				}
				rc.Close()
			}
		}
		if target, err := DetectPath(path); err == nil && !strings.HasSuffix(target.Ref, "x") {
			t.Errorf("detected as %v", target)
		}
	})
}
