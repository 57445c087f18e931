package clustertest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/digest"
)

// The media types of what [Registry.Push] makes.
const (
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// Registry is an image registry on the loopback interface (distribution-spec v1.1, "Pull"). Safe for concurrent use.
type Registry struct {
	server *httptest.Server

	mu        sync.Mutex
	fault     func(w http.ResponseWriter, r *http.Request) bool
	documents map[string][]byte // by "name/manifests/ref" and "name/blobs/digest"
	requests  map[string]int    // by the same
}

// NewRegistry starts an empty registry that serves until the test ends.
func NewRegistry(tb testing.TB) *Registry {
	tb.Helper()
	r := &Registry{documents: make(map[string][]byte), requests: make(map[string]int)}
	r.server = httptest.NewServer(r)
	tb.Cleanup(r.server.Close)
	return r
}

// Host is where the registry is: "127.0.0.1:port".
func (r *Registry) Host() string { return strings.TrimPrefix(r.server.URL, "http://") }

// CloseConnections closes the connections of clients.
func (r *Registry) CloseConnections() { r.server.CloseClientConnections() }

// Fault sets what is asked before each answer: it may answer itself, and reports true then. Nil answers nothing.
func (r *Registry) Fault(f func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// Requests returns how often a path was asked for: "app/manifests/1", "app/blobs/sha256:…".
func (r *Registry) Requests(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[path]
}

// Put puts a document or blob at a path of the repository: "app/manifests/1", "app/blobs/sha256:…".
func (r *Registry) Put(path string, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.documents[path] = content
}

// Push pushes an image for linux/amd64 with these layers as "name:tag", and returns its reference.
func (r *Registry) Push(tb testing.TB, name, tag string, layers ...[]byte) string {
	tb.Helper()
	return r.PushManifest(tb, name, tag, NewManifest(layers...), layers...)
}

// PushManifest is Push with a manifest of the test's own making.
func (r *Registry) PushManifest(tb testing.TB, name, tag string, manifest Manifest, layers ...[]byte) string {
	tb.Helper()
	text, err := json.Marshal(manifest)
	if err != nil {
		tb.Fatal(err)
	}
	for _, layer := range layers {
		r.Put(name+"/blobs/"+digest.SHA256(layer).String(), layer)
	}
	if manifest.config != nil {
		r.Put(name+"/blobs/"+digest.SHA256(manifest.config).String(), manifest.config)
	}
	r.Put(name+"/manifests/"+tag, text)
	r.Put(name+"/manifests/"+digest.SHA256(text).String(), text)
	return r.Host() + "/" + name + ":" + tag
}

// Manifest is an image manifest (image-spec v1.1, manifest.md).
type Manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        Descriptor   `json:"config"`
	Layers        []Descriptor `json:"layers"`

	config []byte
}

// Descriptor is image-spec v1.1, descriptor.md.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// NewManifest describes an image for linux/amd64 with these layers.
func NewManifest(layers ...[]byte) Manifest {
	m := Manifest{SchemaVersion: 2, MediaType: ManifestType}
	for _, layer := range layers {
		m.Layers = append(m.Layers, describe(layerType, layer))
	}
	return m.WithConfig([]byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`))
}

// WithConfig returns the manifest with another configuration.
func (m Manifest) WithConfig(config []byte) Manifest {
	m.config, m.Config = config, describe(configType, config)
	return m
}

func describe(mediaType string, content []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: digest.SHA256(content).String(), Size: int64(len(content))}
}

// ServeHTTP implements [http.Handler].
func (r *Registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	fault := r.fault
	r.requests[strings.TrimPrefix(request.URL.Path, "/v2/")]++
	r.mu.Unlock()
	if fault == nil || !fault(w, request) {
		r.Answer(w, request)
	}
}

// Answer answers a request as it should be.
func (r *Registry) Answer(w http.ResponseWriter, request *http.Request) {
	path := strings.TrimPrefix(request.URL.Path, "/v2/")
	r.mu.Lock()
	content, found := r.documents[path], r.documents[path] != nil
	r.mu.Unlock()
	switch {
	case path == "":
		w.WriteHeader(http.StatusOK)
	case !found:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"NOT_FOUND","message":"there is no such thing"}]}`)
	case strings.Contains(path, "/manifests/"):
		w.Header().Set("Content-Type", ManifestType)
		w.Header().Set("Docker-Content-Digest", digest.SHA256(content).String())
		_, _ = w.Write(content)
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content)
	}
}
