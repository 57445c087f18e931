package oci

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/oci/registrytest"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// push pushes a random image of layers of that many bytes.
func push(t *testing.T, ref string, bytes int64, options ...remote.Option) v1.Image {
	t.Helper()
	image, err := random.Image(bytes, 2)
	if err != nil {
		t.Fatal(err)
	}
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r, image, options...); err != nil {
		t.Fatal(err)
	}
	return image
}

// pull resolves a reference and reads all layers.
func pull(t *testing.T, c *Client, ref string) (*Resolved, error) {
	t.Helper()
	target, err := ParseTarget(ref)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Resolve(t.Context(), target, nil)
	if err != nil {
		return nil, err
	}
	for _, image := range r.Images {
		for _, l := range image.Layers {
			readLayer(t, func(ctx context.Context, l Layer) (io.ReadCloser, error) { return c.Open(ctx, r.Repository, l) }, l)
		}
	}
	return r, nil
}

func newClient(t *testing.T, cfg registry.Config) *Client {
	t.Helper()
	cfg.RetryDelay = time.Millisecond
	c, err := New(Config{Registry: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRealRegistryWithPassword(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{Users: map[string]string{"ann": "hunter2"}})
	image := push(t, host+"/team/app:1", 100_000, remote.WithAuth(&authn.Basic{Username: "ann", Password: "hunter2"}))

	login := func(password string) registry.Keychain {
		return registry.DockerKeychain(registrytest.DockerConfig(t, host, "ann", password))
	}
	r, err := pull(t, newClient(t, registry.Config{Keychain: login("hunter2")}), host+"/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if want, err := image.Digest(); err != nil || r.Images[0].Digest.String() != want.String() {
		t.Errorf("digest %v, pushed %v, %v", r.Images[0].Digest, want, err)
	}
	for _, k := range []registry.Keychain{login("wrong"), registry.Anonymous{}} {
		_, err := pull(t, newClient(t, registry.Config{Keychain: k}), host+"/team/app:1")
		wantKind(t, err, fault.Unauthorized, "docker login "+host)
	}
	_, err = pull(t, newClient(t, registry.Config{Keychain: login("hunter2")}), host+"/team/app:2")
	wantKind(t, err, fault.NotFound, "MANIFEST_UNKNOWN")
	d, err := newClient(t, registry.Config{Keychain: login("hunter2")}).Head(t.Context(), Target{Registry, host + "/team/app:1"})
	if err != nil || d != r.Digest {
		t.Errorf("head: %v, %v", d, err)
	}
}

func TestRealRegistryWithTLS(t *testing.T) {
	ca, cert, key := registrytest.Authority(t)
	host := registrytest.Start(t, registrytest.Options{Cert: cert, Key: key})
	insecure := http.DefaultTransport.(*http.Transport).Clone()
	insecure.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // pushing is not what is tested
	push(t, host+"/team/app:1", 1000, remote.WithTransport(insecure))
	if _, err := pull(t, newClient(t, registry.Config{Keychain: registry.Anonymous{}, CAFiles: []string{ca}}), host+"/team/app:1"); err != nil {
		t.Error(err)
	}
	_, err := pull(t, newClient(t, registry.Config{Keychain: registry.Anonymous{}}), host+"/team/app:1")
	wantKind(t, err, fault.Unavailable, "authority that is not trusted here: add that one's certificate to the CA files")
	other := strings.Replace(host, "127.0.0.1", "localhost", 1)
	_, err = pull(t, newClient(t, registry.Config{Keychain: registry.Anonymous{}, CAFiles: []string{ca}}), other+"/team/app:1")
	wantKind(t, err, fault.Unavailable, "its certificate is for another name")
}

// cuttingProxy passes connections on to address, and cuts each of the first few after so many bytes
// of its answers.
func cuttingProxy(t *testing.T, address string, connections int32, after int64) (host string, cuts *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	cuts = &atomic.Int32{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer out.Close()
				go io.Copy(out, in) // ends when it is cut
				n, _ := io.CopyN(in, out, after)
				if n == after && cuts.Add(1) <= connections {
					return
				}
				io.Copy(in, out) // ends with the connection
			}()
		}
	}()
	return l.Addr().String(), cuts
}

// Transfers that break are taken up again where they broke, by a real registry too.
func TestRealRegistryResumes(t *testing.T) {
	address := registrytest.Start(t, registrytest.Options{})
	push(t, address+"/team/app:1", 3_000_000)
	host, cuts := cuttingProxy(t, address, 4, 700_000)
	var ranges atomic.Int32
	c := newClient(t, registry.Config{Keychain: registry.Anonymous{}, Observe: func(r registry.Response) {
		if r.Status == http.StatusPartialContent {
			ranges.Add(1)
		}
	}})
	if _, err := pull(t, c, host+"/team/app:1"); err != nil {
		t.Fatal(err)
	}
	if cuts.Load() < 4 || ranges.Load() < 4 {
		t.Errorf("%d connections were cut and %d ranges asked for", cuts.Load(), ranges.Load())
	}
}

// A signed schema 1 manifest is verified by the registry when it is pushed, and read back here.
func TestRealRegistrySchema1(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{})
	layer := compress(t, layerTar(t, 1), tarfile.Gzip)
	empty := compress(t, tarOf(t), tarfile.Gzip)
	var layers []digest.Digest
	for _, b := range [][]byte{empty, layer} {
		layers = append(layers, upload(t, host, b))
	}
	signed := sign(t, schema1JSON(t, layers, []bool{true, false}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+"/v2/team/app/manifests/1", strings.NewReader(signed))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeSchema1Signed)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("push: %d %s %v", resp.StatusCode, body, err)
	}
	c := newClient(t, registry.Config{Keychain: registry.Anonymous{}})
	r, err := pull(t, c, host+"/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if r.Digest.String() != resp.Header.Get("Docker-Content-Digest") || len(r.Images[0].Layers) != 1 || r.Images[0].Layers[0].Digest != layers[1] {
		t.Errorf("got %+v, pushed %s", r, resp.Header.Get("Docker-Content-Digest"))
	}
	if again, err := pull(t, c, host+"/team/app@"+r.Digest.String()); err != nil || again.Digest != r.Digest {
		t.Errorf("by digest: %+v, %v", again, err)
	}
}

func upload(t *testing.T, host string, b []byte) digest.Digest {
	t.Helper()
	resp, err := http.Post("http://"+host+"/v2/team/app/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	d := digest.SHA256(b)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, resp.Header.Get("Location")+"&digest="+d.String(), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("upload: %d", resp.StatusCode)
	}
	return d
}
