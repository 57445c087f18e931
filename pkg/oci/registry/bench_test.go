package registry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/digest"
)

// BenchmarkBlob compares a blob that is read through everything that heals it with a plain GET of
// the same bytes, both over the loopback interface.
func BenchmarkBlob(b *testing.B) {
	content := randomBytes(64 << 20)
	srv := httptest.NewServer(whole(content))
	defer srv.Close()
	buffer := make([]byte, 256<<10)
	drain := func(b *testing.B, r io.ReadCloser) {
		b.Helper()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer)
		if err != nil || n != int64(len(content)) {
			b.Fatal(n, err)
		}
		r.Close()
	}
	b.Run("healing", func(b *testing.B) {
		c, err := New(Config{Keychain: Anonymous{}})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			r, err := c.Blob(b.Context(), Repository{strings.TrimPrefix(srv.URL, "http://"), "app"}, digest.SHA256(nil), int64(len(content)))
			if err != nil {
				b.Fatal(err)
			}
			drain(b, r)
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			resp, err := http.Get(srv.URL)
			if err != nil {
				b.Fatal(err)
			}
			drain(b, resp.Body)
		}
	})
}

// BenchmarkManifest is the cost of one small question with a kept token, which a crawl asks for each image.
func BenchmarkManifest(b *testing.B) {
	srv := httptest.NewServer(whole([]byte("{}")))
	defer srv.Close()
	c, err := New(Config{Keychain: Anonymous{}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ref := Reference{Repository: Repository{strings.TrimPrefix(srv.URL, "http://"), "app"}, Tag: "1"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Manifest(b.Context(), ref); err != nil {
			b.Fatal(err)
		}
	}
}
