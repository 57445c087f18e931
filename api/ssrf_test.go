package api_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// TestForbiddenAddresses holds that a service does not ask addresses which strangers must not reach through it, whatever
// way a submission leads there.
func TestForbiddenAddresses(t *testing.T) {
	s := start(t, options{backoff: time.Millisecond})
	redirect := func(to string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return true
		}
	}
	at := func(reference string) func(*testing.T, *clustertest.Registry, string) string {
		return func(*testing.T, *clustertest.Registry, string) string { return reference }
	}
	const metadata = "169.254.169.254"
	refused := badImage{state: api.StateFailed, kind: "invalid", says: []string{"refused", "link-local"}, attempts: 1}
	var images []badImage
	for _, c := range []badImage{
		{name: "the metadata service", push: at(metadata + "/latest/meta-data:1")},
		{name: "with a port", push: at(metadata + ":80/a/b:1")},
		{name: "as IPv6", push: at("[fe80::1]:5000/a:1")},
		{name: "a redirect to it", fault: redirect("http://" + metadata + "/latest/meta-data")},
		{name: "the realm of a token server", fault: func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+metadata+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}},
	} {
		c.state, c.kind, c.says, c.attempts = refused.state, refused.kind, refused.says, refused.attempts
		images = append(images, c)
	}
	scanBeside(t, s, images)
}

// TestDeniedNetworks holds that loopback and private addresses can be denied.
func TestDeniedNetworks(t *testing.T) {
	hit := make(chan string, 10)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hit <- r.URL.Path }))
	defer inside.Close()
	s := start(t, options{backoff: time.Millisecond, registry: registry.Config{DenyLoopback: true, DenyPrivate: true}})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(inside.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"127.0.0.1:" + port + "/app:1", "localhost:" + port + "/app:1", "10.0.0.1/app:1", "192.168.1.1:5000/app:1"} {
		done := s.scan(target)
		if done.State != api.StateFailed || done.Problem.Kind != "invalid" || !strings.Contains(done.Problem.Reason, "refused") {
			t.Errorf("%s: %s %+v", target, done.State, done.Problem)
		}
	}
	select {
	case path := <-hit:
		t.Errorf("a denied address was asked for %s", path)
	default:
	}
}
