package oci

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

func rootFSBytes(t testing.TB, c tarfile.Compression) []byte {
	return compress(t, tarOf(t, entry{name: "./"}, entry{name: "./etc/"}, entry{name: "./etc/os-release", content: "ID=test\n"}), c)
}

func aciBytes(t testing.TB, c tarfile.Compression, dependencies string) []byte {
	return compress(t, tarOf(t, entry{name: "rootfs/"}, entry{name: "rootfs/etc/os-release", content: "ID=test\n"},
		entry{name: "manifest", content: `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app","labels":[
			{"name":"version","value":"1"},{"name":"os","value":"linux"},{"name":"arch","value":"aarch64"}]` + dependencies + "}"}), c)
}

func TestWholeFiles(t *testing.T) {
	for _, c := range []tarfile.Compression{tarfile.None, tarfile.Gzip, tarfile.Zstd, tarfile.XZ, tarfile.Bzip2} {
		for _, scheme := range []Scheme{RootFS, ACI} {
			t.Run(fmt.Sprintf("%s %s", scheme, c), func(t *testing.T) {
				content, base, prefix, platform := rootFSBytes(t, c), types.OCIUncompressedLayer, "", Platform{}
				if scheme == ACI {
					content, base, prefix, platform = aciBytes(t, c, ""), typeACILayer, "rootfs", Platform{OS: "linux", Architecture: "arm64"}
				}
				path := writeFile(t, filepath.Join(t.TempDir(), "x"), content)
				target, err := FindTarget(path)
				if err != nil || target != (Target{scheme, path}) {
					t.Fatalf("detected as %v, %v", target, err)
				}
				r, err := resolveLocal(t, target, Selection{{OS: "linux", Architecture: "arm64"}})
				if err != nil {
					t.Fatal(err)
				}
				want := []Layer{{Digest: digest.SHA256(content), MediaType: string(withCompression(base, c)), Size: int64(len(content)), Prefix: prefix}}
				if diff := cmp.Diff(want, r.Images[0].Layers, cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); diff != "" {
					t.Errorf("layers (-want +got):\n%s", diff)
				}
				if r.Images[0].Platform != platform {
					t.Errorf("platform %v", r.Images[0].Platform)
				}
				cl, err := New(Config{AllowLocal: true})
				if err != nil {
					t.Fatal(err)
				}
				readLayer(t, func(ctx context.Context, l Layer) (io.ReadCloser, error) { return cl.Open(ctx, r.Repository, l) }, r.Images[0].Layers[0])
			})
		}
	}
}

func TestACITrouble(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "x.aci"), aciBytes(t, tarfile.Gzip, `,"dependencies":[{"imageName":"example.com/base"}]`))
	r, err := resolveLocal(t, Target{ACI, path}, nil)
	if err != nil || len(r.Skipped) != 1 || !r.Skipped[0].Missed || !strings.Contains(r.Skipped[0].Reason, `"example.com/base"`) {
		t.Errorf("with a dependency: %+v, %v", r, err)
	}
	for _, c := range []struct {
		name, manifest string
		want           fault.Kind
		text           string
	}{
		{"no manifest", "", fault.Unsupported, "it has no manifest"},
		{"not JSON", "x", fault.Corrupt, "not JSON"},
		{"another kind", `{"acKind":"PodManifest"}`, fault.Unsupported, `acKind is "PodManifest"`},
	} {
		entries := []entry{{name: "rootfs/"}}
		if c.manifest != "" {
			entries = append(entries, entry{name: "manifest", content: c.manifest})
		}
		_, err := resolveLocal(t, Target{ACI, writeFile(t, path, tarOf(t, entries...))}, nil)
		wantKind(t, err, c.want, c.text)
	}
}
