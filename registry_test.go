package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/trawl-scanner/trawl/pkg/oci/registrytest"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// scanner calls the program in this process, with a data directory and a mirror of its own.
type scanner struct {
	t      *testing.T
	shared []string // flags
}

func newScanner(t *testing.T) scanner {
	t.Helper()
	dir := t.TempDir()
	if err := letPass(dir); err != nil {
		t.Fatal(err)
	}
	fixtures, err := txtar.ParseFile("testdata/fixtures.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if err := txtar.Write(fixtures, dir); err != nil {
		t.Fatal(err)
	}
	return scanner{t, []string{"--data-dir", dir + "/data", "--mirror", dir + "/mirror"}}
}

// run calls the program.
func (s scanner) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, errs bytes.Buffer
	code = run(append(args, s.shared...), strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

// scan scans a target and returns the reports. It has to succeed.
func (s scanner) scan(args ...string) []*report.Report {
	s.t.Helper()
	stdout, stderr, code := s.run(append([]string{"scan", "-o", "json"}, args...)...)
	if code != exitOK {
		s.t.Fatalf("scan %v: exit code %d: %s", args, code, stderr)
	}
	return parseReports(s.t, stdout)
}

// parseReports reads JSON objects that follow one another.
func parseReports(t *testing.T, text string) []*report.Report {
	t.Helper()
	var out []*report.Report
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		r := new(report.Report)
		if err := d.Decode(r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// watched is a registry behind a proxy that notes what is read.
type watched struct {
	host string // of the proxy
	mu   sync.Mutex
	read []string // digests of blobs
}

func watch(t *testing.T, host string) *watched {
	t.Helper()
	w := &watched{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, blob, ok := strings.Cut(r.URL.Path, "/blobs/"); ok && r.Method == http.MethodGet {
			w.mu.Lock()
			w.read = append(w.read, blob)
			w.mu.Unlock()
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.host = server.Listener.Addr().String()
	return w
}

// layersRead returns how many of an image's layers were read since it was last asked.
func (w *watched) layersRead(t *testing.T, image v1.Image) int {
	t.Helper()
	layers := layerDigests(t, image)
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, blob := range w.read {
		if slices.Contains(layers, blob) {
			n++
		}
	}
	w.read = nil
	return n
}

func layerDigests(t *testing.T, image v1.Image) []string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, layer := range layers {
		d, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d.String())
	}
	return out
}

func push(t *testing.T, ref string, image v1.Image, options ...remote.Option) {
	t.Helper()
	reference, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image, options...); err != nil {
		t.Fatal(err)
	}
}

// A Debian that was made from the package mirror, pushed to Docker's registry and scanned from there: the report has the
// packages that dpkg itself lists, each from its layer, and no layer is read twice.
func TestDebianInRegistry(t *testing.T) {
	debian := makeDebian(t)
	registry := watch(t, registrytest.Start(t, registrytest.Options{}))
	image := debian.image(t, "linux/amd64", debian.base, debian.app)
	ref := registry.host + "/debian/app:1"
	push(t, ref, image)
	s := newScanner(t)

	first := s.scan(ref)[0]
	if n := registry.layersRead(t, image); n != 2 {
		t.Errorf("%d layers were read, not 2", n)
	}
	compareReport(t, debian, first, layerDigests(t, image))

	again := s.scan(ref)[0]
	if n := registry.layersRead(t, image); n != 0 {
		t.Errorf("the second scan read %d layers", n)
	}
	again.Generated, again.Coverage.Sources = first.Generated, first.Coverage.Sources
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the second report is another one (- first, + second):\n%s", diff)
	}
	byDigest := s.scan(registry.host + "/debian/app@" + first.Image.Digest.String())[0]
	if byDigest.Image.Digest != first.Image.Digest || len(byDigest.Packages) != len(first.Packages) {
		t.Errorf("by digest: %+v with %d packages", byDigest.Image, len(byDigest.Packages))
	}
	if n := registry.layersRead(t, image); n != 0 {
		t.Errorf("the scan by digest read %d layers", n)
	}
}

// compareReport holds a report against the lists of packages that dpkg gives. What the base has stands in its list.
func compareReport(t *testing.T, debian debianImage, r *report.Report, layers []string) {
	t.Helper()
	base := readLines(t, debian.baseList)
	var got []string
	for _, p := range r.Packages {
		line := fmt.Sprintln(p.Name, p.Version, p.Arch)
		got = append(got, line)
		want := layers[1]
		if slices.Contains(base, line) {
			want = layers[0]
		}
		if p.Layer.String() != want {
			t.Errorf("%s is said to be from layer %s, not %s", p.Name, p.Layer, want)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(readLines(t, debian.appList), got); diff != "" {
		t.Errorf("packages (- dpkg-query, + report):\n%s", diff)
	}
	if r.Distribution.Namespace != "debian:12" || r.State != report.Complete || r.Coverage.Status != report.Partial { // of perl one case is undecided
		t.Errorf("distribution %+v, state %s, coverage %s", r.Distribution, r.State, r.Coverage.Status)
	}
}

// readLines returns the lines of a file, sorted.
func readLines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(strings.Lines(string(text)))
}

// Of an index all platforms are scanned, or the one that is asked for, and layers that they share are read once.
func TestIndexInRegistry(t *testing.T) {
	debian := makeDebian(t)
	registry := watch(t, registrytest.Start(t, registrytest.Options{}))
	amd, arm := debian.image(t, "linux/amd64", debian.base, debian.app), debian.image(t, "linux/arm64", debian.base)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	ref := registry.host + "/debian/multi:1"
	reference, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(reference, index); err != nil {
		t.Fatal(err)
	}
	s := newScanner(t)
	one := s.scan(ref, "--platform", "linux/arm64")
	if len(one) != 1 || one[0].Image.Platform != "linux/arm64" {
		t.Fatalf("--platform linux/arm64 gives %d reports, %+v", len(one), one[0].Image)
	}
	if n := registry.layersRead(t, amd); n != 1 {
		t.Errorf("%d layers were read, not 1", n)
	}
	all := s.scan(ref)
	var platforms []string
	for _, r := range all {
		platforms = append(platforms, r.Image.Platform)
	}
	slices.Sort(platforms)
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (- want, + got):\n%s", diff)
	}
	if n := registry.layersRead(t, amd); n != 1 {
		t.Errorf("%d layers were read, not 1: the base was known", n)
	}
}

// A registry may have a certificate of a private authority, and want a password.
func TestGuardedRegistry(t *testing.T) {
	ca, cert, key := registrytest.Authority(t)
	host := registrytest.Start(t, registrytest.Options{Cert: cert, Key: key, Users: map[string]string{"ann": "hunter2"}})
	image, err := imageOf("linux/amd64", fixtureDir(t, "alpine"))
	if err != nil {
		t.Fatal(err)
	}
	trusting := http.DefaultTransport.(*http.Transport).Clone()
	trusting.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // pushing is not what is tested
	ref := host + "/team/app:1"
	push(t, ref, image, remote.WithTransport(trusting), remote.WithAuth(&authn.Basic{Username: "ann", Password: "hunter2"}))
	s := newScanner(t)

	for _, c := range []struct {
		name, config string
		flags        []string
		code         int
		says         string
	}{
		{"authority unknown", registrytest.DockerConfig(t, host, "ann", "hunter2"), nil, exitError, "authority that is not trusted here"},
		{"no password", t.TempDir(), []string{"--registry-ca", ca}, exitError, "docker login " + host},
		{"wrong password", registrytest.DockerConfig(t, host, "ann", "hunter3"), []string{"--registry-ca", ca}, exitError, "docker login " + host},
		{"all is right", registrytest.DockerConfig(t, host, "ann", "hunter2"), []string{"--registry-ca", ca}, exitOK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", c.config)
			stdout, stderr, code := s.run(append([]string{"scan", "-o", "json", "--wait", "0s", ref}, c.flags...)...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, not %d: %s", code, c.code, stderr)
			}
			if c.code == exitOK && len(parseReports(t, stdout)[0].Packages) != 4 {
				t.Errorf("report: %s", stdout)
			}
		})
	}
}

// fixtureDir returns a directory of testdata/fixtures.txtar.
func fixtureDir(t *testing.T, name string) string {
	t.Helper()
	fixtures, err := txtar.ParseFile("testdata/fixtures.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := txtar.Write(fixtures, dir); err != nil {
		t.Fatal(err)
	}
	return dir + "/" + name
}
