package registry

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

var testRef = Reference{Repository: repo, Tag: "1"}

func manifestServer(t *testing.T, cfg Config, steps ...http.HandlerFunc) (*Client, *script) {
	m := newMemoryNet()
	s := &script{t: t, steps: steps}
	m.serve(t, testHost, s)
	return m.client(t, cfg), s
}

func TestManifest(t *testing.T) {
	d := digest.SHA256([]byte("{}"))
	good := func(w http.ResponseWriter, r *http.Request) {
		for _, accepted := range []string{"oci.image.index.v1", "manifest.list.v2", "oci.image.manifest.v1", "manifest.v2", "v1+prettyjws"} {
			if !strings.Contains(r.Header.Get("Accept"), accepted) {
				t.Errorf("%s is not accepted", accepted)
			}
		}
		if r.UserAgent() != "trawl/1.2" {
			t.Errorf("User-Agent %q", r.UserAgent())
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", d.String())
		io.WriteString(w, "{}")
	}
	synctest.Test(t, func(t *testing.T) {
		c, _ := manifestServer(t, Config{UserAgent: "trawl/1.2"}, good)
		doc, err := c.Manifest(t.Context(), testRef)
		if err != nil || string(doc.Bytes) != "{}" || doc.Digest != d || doc.MediaType != "application/vnd.oci.image.manifest.v1+json" {
			t.Errorf("got %+v, %v", doc, err)
		}
		doc, err = c.Head(t.Context(), testRef)
		if err != nil || doc.Bytes != nil || doc.Digest != d {
			t.Errorf("head: got %+v, %v", doc, err)
		}
	})
}

func TestManifestTrouble(t *testing.T) {
	body := func(code int, text string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			status(code, header...)(w, r)
			io.WriteString(w, text)
		}
	}
	for _, c := range []struct {
		name  string
		step  http.HandlerFunc
		want  fault.Kind
		after time.Duration
		text  string
	}{
		{"not there", body(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`), fault.NotFound, 0, "get manifest registry.example/team/app:1: registry.example: 404 Not Found: MANIFEST_UNKNOWN: manifest unknown"},
		{"pull limit", body(429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limits"}]}`), fault.RateLimited, 0, "pull limit of this account or address reached"},
		{"any limit", body(429, "Too Many Requests (HAP429).", "Retry-After", "60"), fault.RateLimited, time.Minute, "too many requests, whatever they are for: 429 Too Many Requests: Too Many Requests (HAP429)."},
		{"until a date", body(429, "", "Retry-After", "Sat, 01 Jan 2000 00:02:00 GMT"), fault.RateLimited, 2 * time.Minute, ""},
		{"denied", body(403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`), fault.Unauthorized, 0, "no such repository, or no access to it as anonymous"},
		{"for legal reasons", body(451, ""), fault.Unauthorized, 0, "451"},
		{"bad name", body(400, `{"errors":[{"code":"NAME_INVALID"}]}`), fault.Invalid, 0, "NAME_INVALID"},
		{"TLS was expected", body(400, "Client sent an HTTP request to an HTTPS server.\n"), fault.Invalid, 0, "do not list it as plain HTTP"},
		{"a page with markup", body(502, "<html><body>t0ken</body></html>"), fault.Unavailable, 0, "502 Bad Gateway"},
		{"a text that repeats a signed address", body(404, "https://cdn.example/x?sig=s1gnature not found"), fault.NotFound, 0, "https://cdn.example/x?… not found"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1001)) }, fault.TooLarge, 0, "limit of 1000 bytes"},
		{"too large and does not say so", chunked(make([]byte, 5000)), fault.TooLarge, 0, "limit of 1000 bytes"},
		{"interrupted", breaking(make([]byte, 900), 500), fault.Unavailable, 0, "interrupted after 500 bytes"},
		{"stalled", hanging(make([]byte, 900), 500), fault.Unavailable, 0, "transfer stalled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, _ := manifestServer(t, Config{Retries: -1, MaxManifestBytes: 1000}, c.step)
				_, err := cl.Manifest(t.Context(), testRef)
				wantKind(t, err, c.want)
				wantText(t, err, c.text)
				if got := fault.AfterOf(err); got != c.after {
					t.Errorf("after %v, want %v", got, c.after)
				}
			})
		})
	}
}

func TestHead(t *testing.T) {
	for _, c := range []struct {
		name string
		step http.HandlerFunc
		want fault.Kind
	}{
		{"it is not understood", status(405), 0},
		{"it does not tell the digest", status(200), 0},
		{"it tells something else", status(200, "Docker-Content-Digest", "md5:1"), 0},
		{"it is not there", status(404), fault.NotFound},
		{"too many", status(429), fault.RateLimited},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, _ := manifestServer(t, Config{}, c.step)
				doc, err := cl.Head(t.Context(), testRef)
				if c.want != fault.Unknown {
					wantKind(t, err, c.want)
				} else if err != nil || !doc.Digest.IsZero() {
					t.Errorf("got %v, %v", doc, err)
				}
			})
		})
	}
}

func TestManifestIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := manifestServer(t, Config{}, breaking(make([]byte, 900), 0), status(503), whole([]byte("{}")))
		start := time.Now()
		if _, err := c.Manifest(t.Context(), testRef); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); len(s.asked()) != 3 || took < time.Second || took > 2*time.Second {
			t.Errorf("%d requests in %v", len(s.asked()), took)
		}
	})
}

// TestManifestIsWaitedForOnce holds that who was waited for in vain is not asked again, and that who answers badly at once is.
func TestManifestIsWaitedForOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		step  http.HandlerFunc
		asked int
		took  time.Duration
	}{
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 1, 30 * time.Second},
		{"stalled", hanging(make([]byte, 900), 500), 1, 30 * time.Second},
		{"503", status(http.StatusServiceUnavailable), 6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, s := manifestServer(t, Config{}, c.step)
				began := time.Now()
				_, err := client.Manifest(t.Context(), testRef)
				if took := time.Since(began); fault.KindOf(err) != fault.Unavailable || len(s.asked()) != c.asked || c.took > 0 && took != c.took {
					t.Errorf("asked %d times in %s: %v", len(s.asked()), took, err)
				}
			})
		})
	}
}
