package oci

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
	"github.com/trawl-scanner/trawl/pkg/realdata"
)

var update = flag.Bool("update", false, "write golden files anew")

var amd64 = Platform{OS: "linux", Architecture: "amd64"}

// dockerSave returns what docker save before Docker 25 writes for an image of three layers, of which
// the second is used again by symbolic link and the third by hard link, as old versions did.
func dockerSave(t testing.TB, pack tarfile.Compression) []entry {
	base, top := layerTar(t, 1), layerTar(t, 2)
	config := configJSON(t, amd64, base, top, base, top)
	id := digest.SHA256([]byte(config)).Hex()
	return []entry{
		{name: "aaa/"}, {name: "aaa/VERSION", content: "1.0"}, {name: "aaa/json", content: "{}"},
		{name: "aaa/layer.tar", content: string(compress(t, base, pack))},
		{name: "bbb/"}, {name: "bbb/layer.tar", content: string(compress(t, top, pack))},
		{name: "ccc/"}, {name: "ccc/layer.tar", link: "../aaa/layer.tar"},
		{name: "ddd/"}, {name: "ddd/layer.tar", hard: "bbb/layer.tar"},
		{name: id + ".json", content: config},
		{name: "manifest.json", content: fmt.Sprintf(`[{"Config":"%s.json","RepoTags":["test:1","registry.example/app:2","?"],"Layers":["aaa/layer.tar","bbb/layer.tar","ccc/layer.tar","ddd/layer.tar"]}]`, id)},
		{name: "repositories", content: `{"test":{"1":"ddd"}}`},
	}
}

func TestDockerArchive(t *testing.T) {
	var first *Resolved
	for _, whole := range []tarfile.Compression{tarfile.None, tarfile.Gzip, tarfile.Zstd, tarfile.XZ, tarfile.Bzip2} {
		for _, inner := range []tarfile.Compression{tarfile.None, tarfile.Gzip} {
			t.Run(fmt.Sprintf("layers %q in %q", inner, whole), func(t *testing.T) {
				path := writeFile(t, filepath.Join(t.TempDir(), "x"), compress(t, tarOf(t, dockerSave(t, inner)...), whole))
				target, err := FindTarget(path)
				if err != nil || target != (Target{DockerArchive, path}) {
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
				image := r.Images[0]
				if len(r.Images) != 1 || len(image.Layers) != 4 || image.Platform != amd64 || image.Digest != r.Digest ||
					!image.Created.Equal(time.Date(2020, 1, 23, 16, 53, 6, 686519038, time.UTC)) {
					t.Errorf("got %+v", r)
				}
				if diff := cmp.Diff([]string{"docker.io/library/test:1", "registry.example/app:2"}, image.Names); diff != "" {
					t.Errorf("names (-want +got):\n%s", diff)
				}
				for i, l := range image.Layers {
					want := digest.SHA256(layerTar(t, byte(1+i%2)))
					if l.Digest != want || !l.Inflated || l.MediaType != string(withCompression(types.OCIUncompressedLayer, inner)) {
						t.Errorf("layer %d: %+v, want digest %v", i, l, want)
					}
					readLayer(t, a.Open, l)
				}
				// However it is packed, it is the same image.
				if first == nil {
					first = r
				}
				if r.Digest != first.Digest {
					t.Errorf("digest %v, and %v otherwise", r.Digest, first.Digest)
				}
			})
		}
	}
}

// The form of the documents that are made up is stored wherever their digest is.
func TestGoldenManifests(t *testing.T) {
	dir := t.TempDir()
	save := writeFile(t, filepath.Join(dir, "save.tar"), tarOf(t, dockerSave(t, tarfile.None)...))
	two := writeFile(t, filepath.Join(dir, "two.tar"), tarOf(t, twoImages(t)...))
	root := writeFile(t, filepath.Join(dir, "root.tar.gz"), rootFSBytes(t, tarfile.None))
	aci := writeFile(t, filepath.Join(dir, "app.aci"), aciBytes(t, tarfile.None, ""))
	var b strings.Builder
	for _, target := range []Target{{DockerArchive, save}, {DockerArchive, two}, {RootFS, root}, {ACI, aci}} {
		a, err := OpenArchive(t.Context(), target, limits.Default())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n%s\n", target.Scheme, a.Digest(), a.root.raw)
		if r, err := a.Resolve(t.Context(), nil); err != nil {
			t.Fatal(err)
		} else if config, err := a.holdings.config(t.Context(), r.Images[0].Config, 0); err != nil {
			t.Fatal(err)
		} else {
			fmt.Fprintf(&b, "%s\n\n", config)
		}
	}
	golden(t, "manifests.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		writeFile(t, path, []byte(got))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// twoImages is an archive of two images that share a layer, and a third that cannot be read.
func twoImages(t testing.TB) []entry {
	base, top := layerTar(t, 1), layerTar(t, 2)
	one := configJSON(t, amd64, base)
	two := configJSON(t, Platform{OS: "linux", Architecture: "arm", Variant: "7"}, base, top)
	return []entry{
		{name: "./base.tar", content: string(base)},
		{name: "top.tar.gz", content: string(compress(t, top, tarfile.Gzip))},
		{name: "one.json", content: one}, {name: "two.json", content: two},
		{name: "./manifest.json", content: `[
			{"Config":"one.json","RepoTags":["test:1"],"Layers":["base.tar"]},
			{"Config":"three.json","RepoTags":["test:3"],"Layers":["base.tar"]},
			{"Config":"two.json","RepoTags":["test:2","test:latest"],"Layers":["/base.tar","./top.tar.gz"]}
		]`},
	}
}

func TestDockerArchiveOfSeveral(t *testing.T) {
	target := Target{DockerArchive, writeFile(t, filepath.Join(t.TempDir(), "x.tar"), tarOf(t, twoImages(t)...))}
	r, err := resolveLocal(t, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Images) != 2 || r.MediaType != typeOCIIndex {
		t.Fatalf("got %+v", r)
	}
	if got := fmt.Sprint(r.Images[0].Names, r.Images[1].Names, r.Images[1].Platform); got != "[docker.io/library/test:1] [docker.io/library/test:2 docker.io/library/test:latest] linux/arm/v7" {
		t.Error(got)
	}
	if len(r.Skipped) != 1 || !r.Skipped[0].Missed || !strings.Contains(r.Skipped[0].Reason, "image 1 test:3: open three.json") {
		t.Errorf("skipped %+v", r.Skipped)
	}
	r, err = resolveLocal(t, target, Selection{{OS: "linux", Architecture: "arm"}})
	if err != nil || len(r.Images) != 1 || len(r.Skipped) != 2 {
		t.Errorf("arm only: %+v, %v", r, err)
	}
	_, err = resolveLocal(t, target, Selection{{OS: "linux", Architecture: "s390x"}})
	wantKind(t, err, fault.NotFound, "there is no such image, only linux/amd64, linux/arm/v7")
}

func TestDockerArchiveTrouble(t *testing.T) {
	base := layerTar(t, 1)
	config := configJSON(t, amd64, base)
	manifest := func(s string) []entry {
		return []entry{{name: "base.tar", content: string(base)}, {name: "c.json", content: config}, {name: "manifest.json", content: s}}
	}
	for _, c := range []struct {
		name    string
		entries []entry
		want    fault.Kind
		text    string
	}{
		{"nothing of it", []entry{{name: "x", content: "y"}}, fault.Unsupported, "it has no manifest.json"},
		{"too old", []entry{{name: "repositories", content: "{}"}}, fault.Unsupported, "before Docker 1.10"},
		{"not JSON", manifest("["), fault.Corrupt, "not JSON"},
		{"another type", manifest(`{"Config":"c.json"}`), fault.Corrupt, "a JSON object"},
		{"no image", manifest("[]"), fault.Corrupt, "it lists no image"},
		{"a configuration that is not there", manifest(`[{"Config":"d.json","Layers":["base.tar"]}]`), fault.NotFound, "d.json"},
		{"a configuration outside", manifest(`[{"Config":"../../../../etc/passwd","Layers":["base.tar"]}]`), fault.NotFound, "etc/passwd"},
		{"a layer that is not there", manifest(`[{"Config":"c.json","Layers":["top.tar"]}]`), fault.NotFound, "top.tar"},
		{"a layer too many", manifest(`[{"Config":"c.json","Layers":["base.tar","base.tar"]}]`), fault.Corrupt, "1 diff IDs for 2 layers"},
		{"links in a ring", append(manifest(`[{"Config":"c.json","Layers":["a"]}]`), entry{name: "a", link: "b"}, entry{name: "b", link: "a"}), fault.NotFound, "not in the archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := resolveLocal(t, Target{DockerArchive, writeFile(t, filepath.Join(t.TempDir(), "x.tar"), tarOf(t, c.entries...))}, nil)
			wantKind(t, err, c.want, c.text)
		})
	}
}

func TestFilesThatAreNoArchives(t *testing.T) {
	dir := t.TempDir()
	broken := tarOf(t, dockerSave(t, tarfile.None)...)
	for _, scheme := range localSchemes {
		none := filepath.Join(dir, "none")
		_, err := resolveLocal(t, Target{scheme, none}, nil)
		wantKind(t, err, fault.NotFound, "no such file")
		if scheme == OCIDir {
			continue
		}
		_, err = resolveLocal(t, Target{scheme, dir}, nil)
		if err == nil || fault.Retryable(err) {
			t.Errorf("%s of a directory: %v", scheme, err)
		}
		if scheme == RootFS {
			continue // looks at no content
		}
		_, err = resolveLocal(t, Target{scheme, writeFile(t, filepath.Join(dir, "x"), []byte("some text"))}, nil)
		wantKind(t, err, fault.Unsupported, "not a tar file")
		_, err = resolveLocal(t, Target{scheme, writeFile(t, filepath.Join(dir, "x"), broken[:len(broken)-9000])}, nil)
		wantKind(t, err, fault.Corrupt, "ends early")
		packed := compress(t, broken, tarfile.Gzip)
		_, err = resolveLocal(t, Target{scheme, writeFile(t, filepath.Join(dir, "x"), packed[:len(packed)-2000])}, nil)
		wantKind(t, err, fault.Corrupt, "ends early")
		_, err = OpenArchive(t.Context(), Target{scheme, writeFile(t, filepath.Join(dir, "x"), packed)}, limits.Limits{InflatedBytes: 1000})
		wantKind(t, err, fault.TooLarge, "limit of 1000 bytes")
	}
}

// An archive that is written anew is read anew, and one that is not is not.
func TestArchivesAreRemembered(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "x.tar"), tarOf(t, dockerSave(t, tarfile.None)...))
	target := Target{DockerArchive, path}
	cl, err := New(Config{AllowLocal: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := cl.Resolve(t.Context(), target, nil)
	if err != nil {
		t.Fatal(err)
	}
	old, err := cl.archive(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := cl.archive(t.Context(), target); err != nil || again != old {
		t.Errorf("opened again: %v", err)
	}
	writeFile(t, path, tarOf(t, twoImages(t)...))
	_, err = old.Open(t.Context(), r.Images[0].Layers[0])
	wantKind(t, err, fault.Conflict, "has changed")
	r, err = cl.Resolve(t.Context(), target, nil)
	if err != nil || len(r.Images) != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
	for i := range 3 * maxArchives {
		other := writeFile(t, filepath.Join(t.TempDir(), fmt.Sprint(i)), tarOf(t, dockerSave(t, tarfile.None)...))
		if _, err := cl.archive(t.Context(), Target{DockerArchive, other}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(cl.archives.byName); n > maxArchives {
		t.Errorf("%d archives remembered", n)
	}
}

// A server does not read its own files on a client's word.
func TestLocalIsRefused(t *testing.T) {
	cl, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range localSchemes {
		target := Target{scheme, "/etc/passwd"}
		_, err := cl.Resolve(t.Context(), target, nil)
		wantKind(t, err, fault.Invalid, "not read for others")
		_, err = cl.Head(t.Context(), target)
		wantKind(t, err, fault.Invalid, "not read for others")
		_, err = cl.Open(t.Context(), target.String(), Layer{})
		wantKind(t, err, fault.Invalid, "not read for others")
	}
}

// Every real archive that is at hand resolves, to the same digests each time, and its layers are
// what their digests say.
func TestRealArchives(t *testing.T) {
	dir := realdata.Path(t, "images")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("no real images in %s: nothing is tested", dir)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			target, err := FindTarget(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(file, string(target.Scheme)) && !strings.Contains(file, "docker-save") {
				t.Errorf("detected as %s", target)
			}
			a, err := OpenArchive(t.Context(), target, limits.Default())
			if err != nil {
				t.Fatal(err)
			}
			r, err := a.Resolve(t.Context(), nil)
			if err != nil || len(r.Images) != 1 || len(r.Images[0].Layers) == 0 || len(r.Skipped) > 0 {
				t.Fatalf("got %+v, %v", r, err)
			}
			for _, l := range r.Images[0].Layers {
				readLayer(t, a.Open, l)
			}
			again, err := resolveLocal(t, target, nil)
			if err != nil || again.Digest != r.Digest {
				t.Errorf("the second time: %v, %v", again, err)
			}
		})
	}
}
