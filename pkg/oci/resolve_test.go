package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcrregistry "github.com/google/go-containerregistry/pkg/registry"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// testRegistry is a registry in this process into which tests put documents as they are.
type testRegistry struct {
	t        testing.TB
	host     string
	handler  http.Handler
	before   func(w http.ResponseWriter, r *http.Request) (done bool)
	requests atomic.Int64
	docs     map[string]doc // manifests by reference
}

type doc struct{ mediaType, body string }

func newTestRegistry(t testing.TB) *testRegistry {
	t.Helper()
	r := &testRegistry{t: t, docs: map[string]doc{}, handler: ggcrregistry.New(ggcrregistry.Logger(log.New(io.Discard, "", 0)))}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

func (r *testRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		r.requests.Add(1)
		if r.before != nil && r.before(w, req) {
			return
		}
	}
	if ref, ok := strings.CutPrefix(req.URL.Path, "/v2/team/app/manifests/"); ok {
		if d, ok := r.docs[ref]; ok {
			w.Header().Set("Content-Type", d.mediaType)
			w.Header().Set("Docker-Content-Digest", digest.SHA256([]byte(d.body)).String())
			io.WriteString(w, d.body)
			return
		}
	}
	r.handler.ServeHTTP(w, req)
}

// blob puts a blob and returns it.
func (r *testRegistry) blob(content string) string {
	r.t.Helper()
	d := digest.SHA256([]byte(content))
	req := httptest.NewRequest(http.MethodPost, "/v2/team/app/blobs/uploads/?digest="+d.String(), strings.NewReader(content))
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code != http.StatusCreated {
		r.t.Fatalf("put blob: %d %s", w.Code, w.Body)
	}
	return content
}

// manifest puts a manifest under its digest and describes it.
func (r *testRegistry) manifest(mediaType, content string) descriptor {
	r.t.Helper()
	r.docs[digest.SHA256([]byte(content)).String()] = doc{mediaType, content}
	return descriptorOf(mediaType, content)
}

// image puts an image of one layer for a platform and describes it.
func (r *testRegistry) image(p Platform, seed byte) descriptor {
	r.t.Helper()
	layer := layerTar(r.t, seed)
	packed := compress(r.t, layer, tarfile.Gzip)
	r.blob(string(packed))
	d := r.manifest(typeOCIManifest, manifestJSON(r.t, r.blob(configJSON(r.t, p, layer)), packed))
	d.Platform = &p
	return d
}

func (r *testRegistry) client(cfg Config) *Client {
	r.t.Helper()
	if cfg.Registry.Keychain == nil {
		cfg.Registry.Keychain = registry.Anonymous{}
	}
	cfg.Registry.RetryDelay = time.Millisecond
	c, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func (r *testRegistry) target(ref string) Target {
	r.t.Helper()
	t, err := ParseTarget(r.host + "/team/app" + ref)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

func summary(r *Resolved) string {
	var b strings.Builder
	for _, i := range r.Images {
		fmt.Fprintf(&b, "image %s: %d layers\n", i.Platform, len(i.Layers))
	}
	for _, s := range r.Skipped {
		reason := s.Reason
		if !s.Digest.IsZero() {
			reason = strings.ReplaceAll(reason, s.Digest.String(), "DIGEST")
		}
		fmt.Fprintf(&b, "skipped %s (missed: %t): %s\n", s.Platform, s.Missed, reason)
	}
	return b.String()
}

func TestResolveIndex(t *testing.T) {
	r := newTestRegistry(t)
	arm7, arm6 := Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	attested := r.manifest(typeOCIManifest, manifestJSON(t, r.blob("{}"), []byte("attested")))
	attested.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	attested.Platform = &Platform{OS: "unknown", Architecture: "unknown"}
	chart := r.manifest(typeOCIManifest, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"`+digest.SHA256([]byte("x")).String()+`","size":1},"layers":[]}`)
	signature := r.manifest(typeOCIManifest, `{"schemaVersion":2,"config":`+mustJSON(t, descriptorOf(typeOCIConfig, "{}"))+`,"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"`+digest.SHA256([]byte("x")).String()+`","size":1}]}`)
	artifact := r.manifest(typeOCIManifest, `{"schemaVersion":2,"artifactType":"application/vnd.example.sbom","config":`+mustJSON(t, descriptorOf("application/vnd.oci.empty.v1+json", "{}"))+`,"layers":[]}`)
	announced := descriptorOf(typeOCIManifest, "y")
	announced.ArtifactType = "application/vnd.example.thing"
	windows := descriptorOf(typeOCIManifest, "never asked for")
	windows.Platform = &Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348"}
	gone := descriptorOf(typeOCIManifest, "deleted since")
	gone.Platform = &Platform{OS: "linux", Architecture: "s390x"}
	inner := r.manifest(typeOCIIndex, indexJSON(t, r.image(arm7, 3), r.image(arm6, 4)))
	one := r.image(amd64, 1)
	unknown := r.image(Platform{OS: "linux", Architecture: "riscv64"}, 5)
	unknown.Platform, unknown.ArtifactType = nil, typeOCIConfig // as go-containerregistry announces every image
	r.docs["1"] = doc{typeOCIIndex, indexJSON(t,
		one, attested, inner, windows, gone, one, chart, signature, artifact, announced, unknown,
		descriptor{MediaType: typeOCIManifest, Digest: "sha256:1"},
		descriptor{MediaType: "application/vnd.in-toto+json", Digest: digest.SHA256(nil).String()},
	)}
	c := r.client(Config{})
	got, err := c.Resolve(t.Context(), r.target(":1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `image linux/amd64: 1 layers
image linux/arm/v7: 1 layers
image linux/arm/v6: 1 layers
image linux/riscv64: 1 layers
skipped unknown/unknown (missed: false): an attestation about another image
skipped windows/amd64 (missed: false): a Windows image: nothing here reads what is installed in one
skipped linux/s390x (missed: true): get manifest HOST/team/app@DIGEST: HOST: 404 Not Found: NAME_UNKNOWN: Unknown name
skipped  (missed: false): an artifact, with a configuration "application/vnd.cncf.helm.config.v1+json", and no image
skipped  (missed: false): an artifact, with content "application/vnd.dev.cosign.simplesigning.v1+json", and no image
skipped  (missed: false): an artifact, "application/vnd.example.sbom", and no image
skipped  (missed: false): an artifact, "application/vnd.example.thing", and no image
skipped  (missed: true): parse index: entry 11: "sha256:1": not a digest: want 64 lower-case hexadecimal digits
skipped  (missed: false): a "application/vnd.in-toto+json", and no image
`
	if diff := cmp.Diff(want, strings.ReplaceAll(summary(got), r.host, "HOST")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Reference != r.host+"/team/app:1" || got.Repository != r.host+"/team/app" || got.MediaType != typeOCIIndex {
		t.Errorf("got %+v", got)
	}
	for _, i := range got.Images {
		if i.Created.Year() != 2020 || i.Config.IsZero() {
			t.Errorf("image %+v", i)
		}
		for _, l := range i.Layers {
			readLayer(t, func(ctx context.Context, l Layer) (io.ReadCloser, error) { return c.Open(ctx, got.Repository, l) }, l)
		}
	}

	t.Run("one platform", func(t *testing.T) {
		before := r.requests.Load()
		got, err := c.Resolve(t.Context(), r.target(":1"), Selection{arm7})
		if err != nil || len(got.Images) != 1 || got.Images[0].Platform != arm7 {
			t.Errorf("got %+v, %v", got, err)
		}
		// The index, the inner one, arm/v7, the four of unknown platform, and the configurations of two.
		if n := r.requests.Load() - before; n != 9 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("without configurations", func(t *testing.T) {
		before := r.requests.Load()
		got, err := r.client(Config{SkipConfig: true}).Resolve(t.Context(), r.target(":1"), Selection{amd64})
		if err != nil || got.Images[0].Platform != amd64 || !got.Images[0].Created.IsZero() {
			t.Errorf("got %+v, %v", got, err)
		}
		if n := r.requests.Load() - before; n != 7 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("no such platform", func(t *testing.T) {
		r.docs["2"] = doc{typeOCIIndex, indexJSON(t, one, attested)}
		_, err := c.Resolve(t.Context(), r.target(":2"), Selection{{OS: "linux", Architecture: "s390x"}})
		wantKind(t, err, fault.NotFound, "select platform linux/s390x: there is no such image, only linux/amd64")
	})
	t.Run("head", func(t *testing.T) {
		d, err := c.Head(t.Context(), r.target(":1"))
		if err != nil || d != got.Digest {
			t.Errorf("got %v, %v; want %v", d, err, got.Digest)
		}
	})
	t.Run("by digest", func(t *testing.T) {
		r.docs[got.Digest.String()] = r.docs["1"]
		again, err := c.Resolve(t.Context(), r.target("@"+got.Digest.String()), nil)
		if err != nil || again.Digest != got.Digest || len(again.Images) != len(got.Images) {
			t.Errorf("got %+v, %v", again, err)
		}
	})
}

func TestResolveManifest(t *testing.T) {
	r := newTestRegistry(t)
	one := r.image(amd64, 1)
	windows := r.image(Platform{OS: "windows", Architecture: "amd64"}, 2)
	config := r.blob(configJSON(t, amd64))
	foreign := `{"schemaVersion":2,"mediaType":"` + typeDockerManifest + `","config":` + mustJSON(t, descriptorOf(typeDockerConfig, config)) +
		`,"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","size":3,"digest":"` + digest.SHA256([]byte("abc")).String() + `","urls":["http://169.254.169.254/"]}]}`
	r.manifest(typeDockerManifest, foreign)
	c := r.client(Config{})

	got, err := c.Resolve(t.Context(), r.target("@"+one.Digest), nil)
	if err != nil || len(got.Images) != 1 || got.Images[0].Platform != amd64 || got.Images[0].Digest.String() != one.Digest {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.Resolve(t.Context(), r.target("@"+one.Digest), Selection{{OS: "linux", Architecture: "arm64"}})
	wantKind(t, err, fault.NotFound, "only linux/amd64")
	_, err = c.Resolve(t.Context(), r.target("@"+windows.Digest), nil)
	wantKind(t, err, fault.Unsupported, "a Windows image")
	_, err = c.Resolve(t.Context(), r.target(":none"), nil)
	wantKind(t, err, fault.NotFound, "get manifest "+r.host+"/team/app:none: "+r.host+": 404 Not Found")

	got, err = c.Resolve(t.Context(), r.target("@"+digest.SHA256([]byte(foreign)).String()), nil)
	if err != nil || !got.Images[0].Layers[0].Foreign {
		t.Fatalf("got %+v, %v", got, err)
	}
	_, err = c.Open(t.Context(), got.Repository, got.Images[0].Layers[0])
	wantKind(t, err, fault.NotFound, "foreign layer")
}

func TestResolveCorrupt(t *testing.T) {
	r := newTestRegistry(t)
	layer := layerTar(t, 1)
	config := configJSON(t, amd64, layer)
	missing := r.manifest(typeOCIManifest, manifestJSON(t, configJSON(t, amd64), layer))
	good := r.manifest(typeOCIManifest, manifestJSON(t, r.blob(config), layer))
	badLayer := r.manifest(typeOCIManifest, `{"schemaVersion":2,"config":`+mustJSON(t, descriptorOf(typeOCIConfig, config))+`,"layers":[{"mediaType":"`+typeOCILayer+`","digest":"sha256:1"}]}`)
	badConfig := r.manifest(typeOCIManifest, manifestJSON(t, r.blob(`{"os":1}`), layer))
	c := r.client(Config{})
	for _, x := range []struct {
		name   string
		ref    string
		before func(w http.ResponseWriter, req *http.Request) bool
		want   fault.Kind
		text   string
	}{
		{"the manifest is another", "@" + good.Digest, tamper("/manifests/"), fault.Corrupt, "digest mismatch"},
		{"the configuration is another", "@" + good.Digest, tamper("/blobs/"), fault.Corrupt, "digest mismatch"},
		{"the configuration is not there", "@" + missing.Digest, nil, fault.NotFound, "get blob"},
		{"the configuration cannot be read", "@" + badConfig.Digest, nil, fault.Corrupt, `field "os"`},
		{"a layer has no digest", "@" + badLayer.Digest, nil, fault.Corrupt, "layer 0"},
		{"the header tells another digest", "@" + good.Digest, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Docker-Content-Digest", digest.SHA256(nil).String())
			io.WriteString(w, manifestJSON(t, config, layer))
			return true
		}, 0, ""},
		{"the header tells another digest of a tag", ":1", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Docker-Content-Digest", digest.SHA256(nil).String())
			io.WriteString(w, manifestJSON(t, config, layer))
			return true
		}, fault.Corrupt, "digest mismatch"},
		{"a page comes", ":1", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>log in</html>")
			return true
		}, fault.Corrupt, `announced as "text/html"`},
		{"something of the child is unavailable", ":2", func(w http.ResponseWriter, req *http.Request) bool {
			if strings.Contains(req.URL.Path, good.Digest) {
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			}
			return false
		}, fault.RateLimited, "429"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r.docs["2"] = doc{typeOCIIndex, indexJSON(t, missing, good)}
			r.before = func(w http.ResponseWriter, req *http.Request) bool {
				if x.before == nil || strings.Contains(req.URL.Path, "/blobs/") && !strings.Contains(x.name, "configuration") {
					return false
				}
				return x.before(w, req)
			}
			defer func() { r.before = nil }()
			got, err := c.Resolve(t.Context(), r.target(x.ref), nil)
			if x.want == fault.Unknown {
				if err != nil || got.Digest.String() != good.Digest {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			wantKind(t, err, x.want, x.text)
		})
	}
}

// tamper answers paths of a kind with something else, of the same length.
func tamper(kind string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, kind) {
			return false
		}
		fmt.Fprintf(w, "%-*s", configSize, `{"schemaVersion":2,"manifests":[]}`)
		return true
	}
}

// configSize is the length of what configJSON makes of one layer.
const configSize = 207

// One manifest that is listed for two platforms is wanted if one of them is.
func TestResolveListedTwice(t *testing.T) {
	r := newTestRegistry(t)
	one := r.image(Platform{OS: "linux", Architecture: "arm"}, 1)
	again := one
	one.Platform, again.Platform = &Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, &Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	r.docs["1"] = doc{typeOCIIndex, indexJSON(t, one, again, one)}
	c := r.client(Config{})
	for _, want := range []Platform{*one.Platform, *again.Platform} {
		got, err := c.Resolve(t.Context(), r.target(":1"), Selection{want})
		if err != nil || len(got.Images) != 1 || got.Images[0].Platform != want || len(got.Skipped) != 0 {
			t.Errorf("%v: got %+v, %v", want, got, err)
		}
	}
	if got, err := c.Resolve(t.Context(), r.target(":1"), nil); err != nil || len(got.Images) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestResolveBounds(t *testing.T) {
	r := newTestRegistry(t)
	c := r.client(Config{})
	one := r.image(amd64, 1)
	deep := r.manifest(typeOCIIndex, indexJSON(t, one))
	for range maxDepth - 1 {
		deep = r.manifest(typeOCIIndex, indexJSON(t, deep))
	}
	if got, err := c.Resolve(t.Context(), r.target("@"+deep.Digest), nil); err != nil || len(got.Images) != 1 {
		t.Errorf("%d deep: %+v, %v", maxDepth, got, err)
	}
	deep = r.manifest(typeOCIIndex, indexJSON(t, deep))
	_, err := c.Resolve(t.Context(), r.target("@"+deep.Digest), nil)
	wantKind(t, err, fault.TooLarge, "nested more than 3 deep")

	wide := make([]descriptor, maxChildren+1)
	for i := range wide {
		wide[i] = descriptorOf(typeOCIManifest, fmt.Sprint(i))
		wide[i].ArtifactType = "application/x"
	}
	many := r.manifest(typeOCIIndex, indexJSON(t, wide...))
	_, err = c.Resolve(t.Context(), r.target("@"+many.Digest), nil)
	wantKind(t, err, fault.TooLarge, "limit of 1000 entries")
}

func TestParseDocument(t *testing.T) {
	index, manifest := indexJSON(t), manifestJSON(t, "{}")
	bare := func(s string) string { // without a media type of its own
		var m map[string]any
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "mediaType")
		return mustJSON(t, m)
	}
	for _, c := range []struct {
		name, contentType, raw, want string
		kind                         fault.Kind
	}{
		{"an index", "", index, typeOCIIndex, 0},
		{"a manifest", "", manifest, typeOCIManifest, 0},
		{"an index that does not say so", typeDockerList, bare(index), typeDockerList, 0},
		{"a manifest that does not say so", typeDockerManifest + "; charset=utf-8", bare(manifest), typeDockerManifest, 0},
		{"an index that nobody says so", "text/plain", bare(index), typeOCIIndex, 0},
		{"a manifest that nobody says so", "application/json", bare(manifest), typeOCIManifest, 0},
		{"an index that is announced as a manifest and says better", typeOCIManifest, index, typeOCIIndex, 0},
		{"an index that is announced as a manifest", typeOCIManifest, bare(index), "", fault.Corrupt},
		{"a manifest that is announced as an index", typeOCIIndex, bare(manifest), "", fault.Corrupt},
		{"both", "", `{"schemaVersion":2,"manifests":[],"layers":[]}`, "", fault.Corrupt},
		{"both, and it says which", "", `{"schemaVersion":2,"mediaType":"` + typeOCIIndex + `","manifests":[],"layers":[]}`, "", fault.Corrupt},
		{"schema 2 with layers of schema 1", "", `{"schemaVersion":2,"manifests":[],"fsLayers":[]}`, "", fault.Corrupt},
		{"neither", "application/vnd.oci.artifact.manifest.v1+json", `{"blobs":[]}`, "", fault.Unsupported},
		{"null", "", `null`, "", fault.Unsupported},
		{"a list", "", `[]`, "", fault.Corrupt},
		{"cut off", "", manifest[:50], "", fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := parseDocument([]byte(c.raw), c.contentType)
			if c.kind != fault.Unknown {
				wantKind(t, err, c.kind, "")
			} else if err != nil || string(doc.mediaType) != c.want || (doc.index == nil) == (doc.manifest == nil) {
				t.Errorf("got %+v, %v", doc, err)
			}
		})
	}
}

func TestSha512(t *testing.T) {
	r := newTestRegistry(t)
	layer := layerTar(t, 1)
	manifest := manifestJSON(t, r.blob(configJSON(t, amd64, layer)), layer)
	var want digest.Digest
	{
		v := digest.MustParse("sha512:" + strings.Repeat("0", 128)).Verifier()
		v.Write([]byte(manifest))
		want = v.Got()
	}
	r.before = func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", typeOCIManifest)
			io.Copy(w, bytes.NewReader([]byte(manifest)))
			return true
		}
		return false
	}
	got, err := r.client(Config{}).Resolve(t.Context(), r.target("@"+want.String()), nil)
	if err != nil || got.Digest != want || got.Images[0].Digest != want {
		t.Errorf("got %+v, %v", got, err)
	}
}
