package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

func serveArchives(t *testing.T, archives map[string]*Archive) string {
	t.Helper()
	srv := httptest.NewServer(Serve(func(_ context.Context, name string) (*Archive, error) {
		if a := archives[name]; a != nil {
			return a, nil
		}
		return nil, fault.New(fault.NotFound, "find", name, errors.New("no such upload"))
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// An archive that is read through the handler is the same image as when it is read here.
func TestServe(t *testing.T) {
	archives := map[string]*Archive{}
	dir := t.TempDir()
	for name, target := range map[string]Target{
		"uploads/save":        {DockerArchive, writeFile(t, filepath.Join(dir, "1"), tarOf(t, dockerSave(t, tarfile.None)...))},
		"uploads/save.packed": {DockerArchive, writeFile(t, filepath.Join(dir, "2"), tarOf(t, dockerSave(t, tarfile.Gzip)...))},
		"uploads/packed.save": {DockerArchive, writeFile(t, filepath.Join(dir, "3"), compress(t, tarOf(t, dockerSave(t, tarfile.None)...), tarfile.Gzip))},
		"uploads/two":         {DockerArchive, writeFile(t, filepath.Join(dir, "4"), tarOf(t, twoImages(t)...))},
		"uploads/layout":      {OCIArchive, writeFile(t, filepath.Join(dir, "5"), tarOf(t, layoutEntries(t)...))},
		"uploads/dir":         {OCIDir, writeDir(t, layoutEntries(t))},
		"uploads/aci":         {ACI, writeFile(t, filepath.Join(dir, "6"), aciBytes(t, tarfile.XZ, ""))},
		"uploads/root":        {RootFS, writeFile(t, filepath.Join(dir, "7"), rootFSBytes(t, tarfile.Gzip))},
	} {
		a, err := OpenArchive(t.Context(), target, limits.Default())
		if err != nil {
			t.Fatal(err)
		}
		archives[name] = a
	}
	host := serveArchives(t, archives)
	c, err := New(Config{Registry: registry.Config{Keychain: registry.Anonymous{}, RetryDelay: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for repository, a := range archives {
		t.Run(repository, func(t *testing.T) {
			target, err := ParseTarget(host + "/" + repository)
			if err != nil {
				t.Fatal(err)
			}
			served, err := c.Resolve(t.Context(), target, nil)
			if err != nil {
				t.Fatal(err)
			}
			local, err := a.Resolve(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			opts := cmp.Options{
				cmpopts.IgnoreFields(Resolved{}, "Reference", "Repository", "Skipped"),
				cmpopts.IgnoreFields(Layer{}, "Size", "Inflated", "MediaType"), // as they are served
				cmp.Comparer(func(a, b digest.Digest) bool { return a == b }),
			}
			if strings.HasSuffix(repository, "save") || strings.HasSuffix(repository, "layout") || strings.HasSuffix(repository, "dir") || strings.HasSuffix(repository, "packed") {
				opts = append(opts, cmpopts.IgnoreFields(Image{}, "Names")) // they are the archive's
			}
			if diff := cmp.Diff(local, served, opts); diff != "" {
				t.Errorf("(-local +served):\n%s", diff)
			}
			for _, image := range served.Images {
				for _, l := range image.Layers {
					if l.Inflated {
						t.Errorf("layer %+v", l)
					}
					readLayer(t, func(ctx context.Context, l Layer) (io.ReadCloser, error) { return c.Open(ctx, served.Repository, l) }, l)
				}
			}
			if d, err := c.Head(t.Context(), target); err != nil || d != a.Digest() {
				t.Errorf("head: %v, %v", d, err)
			}
		})
	}
	t.Run("to another client", func(t *testing.T) {
		ref, err := name.ParseReference(host + "/uploads/layout:1")
		if err != nil {
			t.Fatal(err)
		}
		image, err := remote.Image(ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(image, validate.Fast); err != nil {
			t.Error(err)
		}
	})
}

func TestServeAnswers(t *testing.T) {
	a, err := OpenArchive(t.Context(), Target{DockerArchive, writeFile(t, filepath.Join(t.TempDir(), "x"), tarOf(t, dockerSave(t, tarfile.None)...))}, limits.Default())
	if err != nil {
		t.Fatal(err)
	}
	base := layerTar(t, 1)
	blob := "/v2/a/blobs/" + digest.SHA256(base).String()
	none := digest.SHA256([]byte("none")).String()
	host := serveArchives(t, map[string]*Archive{"a": a})
	for _, c := range []struct {
		method, path, span string
		status             int
		body               string
		length             int
	}{
		{"GET", "/v2/", "", 200, "{}", 2},
		{"HEAD", "/v2/a/manifests/latest", "", 200, "", len(a.root.raw)},
		{"GET", "/v2/a/manifests/" + a.Digest().String(), "", 200, string(a.root.raw), len(a.root.raw)},
		{"GET", blob, "bytes=10-19", 206, string(base[10:20]), 10},
		{"GET", blob, "bytes=99999999-", 416, "", -1},
		{"HEAD", blob, "", 200, "", len(base)},
		{"GET", "/v2/a/manifests/" + none, "", 404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not-found"}]}`, -1},
		{"GET", "/v2/a/blobs/" + none, "", 404, `{"errors":[{"code":"BLOB_UNKNOWN","message":"not in the archive"}]}`, -1},
		{"GET", "/v2/a/blobs/sha256:1", "", 400, "", -1},
		{"GET", "/v2/b/manifests/latest", "", 404, `{"errors":[{"code":"NAME_UNKNOWN","message":"not-found"}]}`, -1},
		{"GET", "/v2/../manifests/latest", "", 404, "", -1},
		{"GET", "/v2/a/tags/list", "", 404, "", -1},
		{"GET", "/v2/manifests/latest", "", 404, "", -1},
		{"GET", "/etc/passwd", "", 404, "", -1},
		{"PUT", "/v2/a/manifests/latest", "", 405, "", -1},
		{"POST", "/v2/a/blobs/uploads/", "", 405, "", -1},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+host, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Path = c.path
			if c.span != "" {
				req.Header.Set("Range", c.span)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || c.body != "" && string(body) != c.body {
				t.Errorf("got %d %.200q, %v", resp.StatusCode, body, err)
			}
			if c.length >= 0 && resp.Header.Get("Content-Length") != fmt.Sprint(c.length) {
				t.Errorf("length %q", resp.Header.Get("Content-Length"))
			}
		})
	}
}

// A layer that breaks while it is served is seen to be incomplete.
func TestServeBrokenLayer(t *testing.T) {
	entries := dockerSave(t, tarfile.Gzip)
	for i, e := range entries {
		if e.name == "aaa/layer.tar" {
			entries[i].content = e.content[:len(e.content)-100]
		}
	}
	a, err := OpenArchive(t.Context(), Target{DockerArchive, writeFile(t, filepath.Join(t.TempDir(), "x"), tarOf(t, entries...))}, limits.Default())
	if err != nil {
		t.Fatal(err)
	}
	host := serveArchives(t, map[string]*Archive{"a": a})
	c, err := New(Config{Registry: registry.Config{Keychain: registry.Anonymous{}, RetryDelay: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Open(t.Context(), host+"/a", Layer{Digest: digest.SHA256(layerTar(t, 1))})
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	wantKind(t, err, fault.Unavailable, "interrupted")
}
