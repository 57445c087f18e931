package oci

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// layoutEntries is an OCI image layout of an index with all that one may have in it.
func layoutEntries(t testing.TB) []entry {
	base, top := compress(t, layerTar(t, 1), tarfile.Gzip), compress(t, layerTar(t, 2), tarfile.Zstd)
	config := configJSON(t, amd64, layerTar(t, 1), layerTar(t, 2))
	manifest := manifestJSON(t, config, base, top)
	arm := manifestJSON(t, configJSON(t, Platform{OS: "linux", Architecture: "arm64"}), base) // not in the archive
	one := descriptorOf(typeOCIManifest, manifest)
	one.Platform = &amd64
	two := descriptorOf(typeOCIManifest, arm)
	two.Platform = &Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	inner := indexJSON(t, one, two)
	outer := descriptorOf(typeOCIIndex, inner)
	outer.Annotations = map[string]string{annotationImageName: "registry.example/app:1", annotationRefName: "1"}
	return []entry{
		{name: layoutFile, content: `{"imageLayoutVersion":"1.0.0"}`},
		{name: indexFile, content: indexJSON(t, outer)},
		blobEntry(inner), blobEntry(manifest), blobEntry(config), blobEntry(string(base)), blobEntry(string(top)),
	}
}

func writeDir(t testing.TB, entries []entry) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range entries {
		path := filepath.Join(dir, filepath.FromSlash(e.name))
		if e.link != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(e.link, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		writeFile(t, path, []byte(e.content))
	}
	return dir
}

func TestLayout(t *testing.T) {
	dir := writeDir(t, layoutEntries(t))
	plain := writeFile(t, filepath.Join(t.TempDir(), "x"), tarOf(t, layoutEntries(t)...))
	packed := writeFile(t, filepath.Join(t.TempDir(), "x"), compress(t, tarOf(t, layoutEntries(t)...), tarfile.Zstd))
	var first *Resolved
	for _, want := range []Target{{OCIDir, dir}, {OCIArchive, plain}, {OCIArchive, packed}} {
		t.Run(string(want.Scheme), func(t *testing.T) {
			target, err := FindTarget(want.Ref)
			if err != nil || target != want {
				t.Fatalf("detected as %v, %v", target, err)
			}
			a, err := OpenArchive(t.Context(), target, limits.Default())
			if err != nil {
				t.Fatal(err)
			}
			r, err := a.Resolve(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Images) != 1 || r.Images[0].Platform != amd64 || len(r.Images[0].Layers) != 2 || r.MediaType != typeOCIIndex {
				t.Fatalf("got %+v", r)
			}
			if got := r.Images[0].Names; len(got) != 1 || got[0] != "registry.example/app:1" {
				t.Errorf("names %q", got)
			}
			if len(r.Skipped) != 1 || r.Skipped[0].Missed || r.Skipped[0].Reason != "left out of this archive" || r.Skipped[0].Platform.String() != "linux/arm64" {
				t.Errorf("skipped %+v", r.Skipped)
			}
			for _, l := range r.Images[0].Layers {
				if l.Inflated || l.Size == 0 {
					t.Errorf("layer %+v", l)
				}
				readLayer(t, a.Open, l)
			}
			if first == nil {
				first = r
			}
			if diff := cmp.Diff(first, r, cmpopts.IgnoreFields(Resolved{}, "Reference", "Repository"), cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); diff != "" {
				t.Errorf("differs from the first:\n%s", diff)
			}
		})
	}
}

// What docker save writes since Docker 25 is both.
func TestDockerArchiveWithLayout(t *testing.T) {
	entries := append(layoutEntries(t), entry{name: "manifest.json", content: `[{"Config":"blobs/x","Layers":[]}]`})
	path := writeFile(t, filepath.Join(t.TempDir(), "x.tar"), tarOf(t, entries...))
	r, err := resolveLocal(t, Target{DockerArchive, path}, nil)
	if err != nil || len(r.Images) != 1 || len(r.Images[0].Layers) != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestLayoutTrouble(t *testing.T) {
	secret := writeFile(t, filepath.Join(t.TempDir(), "secret.json"), []byte(`{"secret":1}`))
	base := layerTar(t, 1)
	config := configJSON(t, amd64, base)
	manifest := manifestJSON(t, config, base)
	d := descriptorOf(typeOCIManifest, manifest)
	blob := blobPath(digest.SHA256([]byte(manifest)))
	index := entry{name: indexFile, content: indexJSON(t, d)}
	for _, c := range []struct {
		name    string
		entries []entry
		want    fault.Kind
		text    string
		tarText string // instead, where it differs
	}{
		{"nothing of it", []entry{{name: "x", content: "y"}}, fault.Unsupported, "it has no index.json", ""},
		{"no index", []entry{{name: indexFile, content: manifest}}, fault.Corrupt, "it is no index", ""},
		{"an empty index", []entry{{name: indexFile, content: indexJSON(t)}}, fault.Unsupported, "the index is empty", ""},
		{"another version", []entry{index, {name: layoutFile, content: `{"imageLayoutVersion":"2.0.0"}`}}, fault.Unsupported, `version "2.0.0"`, ""},
		{"no manifest", []entry{index}, fault.NotFound, d.Digest[7:], ""},
		{"a manifest of another digest", []entry{index, {name: blob, content: manifest + " "}}, fault.Corrupt, "digest mismatch", ""},
		{"a manifest that is a link out of it", []entry{index, {name: blob, link: secret}}, fault.NotFound, "a link out of the directory", "not in the archive"},
		{"a manifest that is a link up", []entry{index, {name: blob, link: "../../../../../../../../../../../../.." + secret}}, fault.NotFound, "a link out of the directory", "not in the archive"},
		{"no configuration", []entry{index, blobEntry(manifest)}, fault.NotFound, digest.SHA256([]byte(config)).Hex(), ""},
		{"no layer", []entry{index, blobEntry(manifest), blobEntry(config)}, fault.NotFound, "is not in the archive", ""},
		{"two that are both not there", []entry{{name: indexFile, content: indexJSON(t, d, descriptorOf(typeOCIManifest, "x"))}}, fault.Unsupported, "left out of this archive", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := resolveLocal(t, Target{OCIDir, writeDir(t, c.entries)}, nil)
			wantKind(t, err, c.want, c.text)
			_, err = resolveLocal(t, Target{OCIArchive, writeFile(t, filepath.Join(t.TempDir(), "x.tar"), tarOf(t, c.entries...))}, nil)
			if c.tarText != "" {
				c.text = c.tarText
			}
			wantKind(t, err, c.want, c.text)
		})
	}
}
