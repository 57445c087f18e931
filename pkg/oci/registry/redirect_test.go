package registry

import (
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The store of blobs gets no token, and an address that has expired is asked for anew.
func TestBlobRedirect(t *testing.T) {
	guardedTest(t, Config{Keychain: fixedKeychain{Username: "ann", Password: "hunter2"}}, func(t *testing.T, g *guarded, c *Client) {
		g.onBlob = func(w http.ResponseWriter, serial int) bool {
			if serial < 4 {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		}
		d := digest.SHA256(blobContent)
		r, err := c.Blob(t.Context(), Repository{testHost, "app"}, d, int64(len(blobContent)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		v := d.Verifier()
		if _, err := io.Copy(v, r); err != nil || v.Err() != nil {
			t.Error(err, v.Err())
		}
		wantLog(t, g, "registry 401 app", "token GET ann repository:app:pull",
			"registry 307 app", "cdn refused", "registry 307 app", "cdn refused", "registry 307 app", "cdn 200")
	})
}

func TestBlobRedirectRefused(t *testing.T) {
	guardedTest(t, Config{}, func(t *testing.T, g *guarded, c *Client) {
		g.onBlob = func(w http.ResponseWriter, _ int) bool { w.WriteHeader(http.StatusForbidden); return true }
		_, err := c.Blob(t.Context(), Repository{testHost, "app"}, digest.SHA256(blobContent), 0)
		wantKind(t, err, fault.Unavailable)
		wantText(t, err, "cdn.example: 403 Forbidden")
	})
}

func TestRedirect(t *testing.T) {
	from := &url.URL{Scheme: "https", Host: testHost, Path: "/v2/app/blobs/x"}
	plain := &url.URL{Scheme: "http", Host: testHost, Path: "/v2/app/blobs/x"}
	for _, c := range []struct {
		name, location string
		from           *url.URL
		want           string
		fails          bool
	}{
		{"to a store", "https://cdn.example/x?sig=s1gnature", from, "https://cdn.example/x?sig=s1gnature", false},
		{"on the same host", "/other", from, "https://registry.example/other", false},
		{"to no secret place", "http://cdn.example/x?sig=s1gnature", from, "", true},
		{"to no secret place from one", "http://cdn.example/x", plain, "http://cdn.example/x", false},
		{"to a file", "file:///etc/passwd", from, "", true},
		{"with a password", "https://ann:hunter2@cdn.example/x", from, "https://cdn.example/x", false},
		{"to nowhere", "", from, "", true},
		{"to what cannot be read", "https://cdn.example/%zz?sig=s1gnature", from, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := redirect(c.from, &http.Response{StatusCode: 307, Header: http.Header{"Location": {c.location}}})
			if (err != nil) != c.fails {
				t.Fatalf("got %v, %v", got, err)
			}
			if err != nil {
				wantText(t, err)
			} else if got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if got, err := redirect(from, &http.Response{StatusCode: 200}); got != nil || err != nil {
		t.Error("200 is no redirect")
	}
}

func TestRedirectsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryNet()
		s := &script{t: t, steps: []http.HandlerFunc{status(302, "Location", "/again?sig=s1gnature")}}
		m.serve(t, testHost, s)
		err := manifestOf(t.Context(), m.client(t, Config{Retries: -1}), "app")
		wantKind(t, err, fault.Unavailable)
		wantText(t, err, "redirected too often")
		if len(s.asked()) != maxRedirects+1 {
			t.Errorf("%d requests", len(s.asked()))
		}
	})
}
