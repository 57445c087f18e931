package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// upstream is a server of one document with the validators that real ones have.
func upstream(t *testing.T, body []byte) (address string, requests *int) {
	t.Helper()
	requests = new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests++
		switch r.URL.Path {
		case "/etag":
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("If-None-Match") == `"v1"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		case "/modified":
			const date = "Tue, 24 Nov 2026 10:00:00 GMT"
			w.Header().Set("Last-Modified", date)
			if r.Header.Get("If-Modified-Since") == date {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		case "/plain":
		case "/busy":
			w.Header().Set("Retry-After", "77")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case "/forbidden":
			w.WriteHeader(http.StatusForbidden)
			return
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
			return
		case "/cut":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(body)
			panic(http.ErrAbortHandler)
		case "/stall":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(body)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		default:
			http.NotFound(w, r)
			return
		}
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q: the checksum would be of what the server makes of the document", got)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func read(t *testing.T, d *Document) string {
	t.Helper()
	r, err := d.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGet(t *testing.T) {
	address, _ := upstream(t, []byte("a feed"))
	spool := t.TempDir()
	f := New(Config{SpoolDir: spool, IdleTimeout: 200 * time.Millisecond})
	for _, path := range []string{"/etag", "/modified", "/plain"} {
		t.Run(path, func(t *testing.T) {
			d, err := f.Get(t.Context(), address+path, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, d); got != "a feed" || d.SizeBytes != 6 || d.Unchanged {
				t.Errorf("got %q, %+v", got, d)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			again, err := f.Get(t.Context(), address+path, d.Validator, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if want := path != "/plain"; again.Unchanged != want {
				t.Errorf("asked again: unchanged is %v, want %v", again.Unchanged, want)
			}
		})
	}
	for path, want := range map[string]fault.Kind{
		"/missing": fault.NotFound, "/forbidden": fault.Unauthorized, "/busy": fault.RateLimited,
		"/broken": fault.Unavailable, "/cut": fault.Unavailable, "/stall": fault.Unavailable,
	} {
		t.Run(path, func(t *testing.T) {
			_, err := f.Get(t.Context(), address+path, "", nil)
			if fault.KindOf(err) != want {
				t.Errorf("got %v (%v), want %v", fault.KindOf(err), err, want)
			}
			if path == "/busy" && fault.AfterOf(err) != 77*time.Second {
				t.Errorf("Retry-After became %v", fault.AfterOf(err))
			}
		})
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}

func TestGetBounded(t *testing.T) {
	address, _ := upstream(t, bytes.Repeat([]byte("x"), 1000))
	_, err := New(Config{SpoolDir: t.TempDir(), MaxBytes: 999}).Get(t.Context(), address+"/plain", "", nil)
	if fault.KindOf(err) != fault.TooLarge {
		t.Errorf("got %v, want too-large", err)
	}
}

func TestGetStops(t *testing.T) {
	address, _ := upstream(t, []byte("x"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(Config{SpoolDir: t.TempDir()}).Get(ctx, address+"/stall", "", nil); err == nil {
		t.Error("a transfer went on after its context ended")
	}
}

func TestMirror(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, content []byte) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	fmt.Fprint(z, "zipped")
	z.Close()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	put("feeds.example/plain.json", []byte("plain"))
	put("feeds.example/deep/zipped.json.gz", zipped.Bytes())
	put("feeds.example/small.json.zst", e.EncodeAll([]byte("small"), nil))
	put("secret.txt", []byte("secret"))
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()

	for name, mirror := range map[string]string{"a directory": dir, "an address": server.URL + "/"} {
		t.Run(name, func(t *testing.T) {
			f := New(Config{Mirror: mirror, SpoolDir: t.TempDir()})
			for path, want := range map[string]string{"/plain.json": "plain", "/deep/zipped.json": "zipped", "/small.json": "small"} {
				address := "https://feeds.example" + path
				d, err := f.Get(t.Context(), address, "", nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := read(t, d); got != want || d.URL != address {
					t.Errorf("%s: got %q of %s", path, got, d.URL)
				}
				d.Close()
				if again, err := f.Get(t.Context(), address, d.Validator, nil); err != nil || !again.Unchanged {
					t.Errorf("%s again: %+v, %v", path, again, err)
				}
				if ok, err := f.Exists(t.Context(), address); err != nil || !ok {
					t.Errorf("%s exists: %v, %v", path, ok, err)
				}
			}
			for _, address := range []string{"https://feeds.example/none", "https://feeds.example/../secret.txt", "https://other.example/plain.json"} {
				if _, err := f.Get(t.Context(), address, "", nil); fault.KindOf(err) != fault.NotFound {
					t.Errorf("%s: %v, want not-found", address, err)
				}
				if ok, err := f.Exists(t.Context(), address); err != nil || ok {
					t.Errorf("%s exists: %v, %v", address, ok, err)
				}
			}
		})
	}
	t.Run("a changed file is read again", func(t *testing.T) {
		f := New(Config{Mirror: dir})
		before, err := f.Get(t.Context(), "https://feeds.example/plain.json", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		put("feeds.example/plain.json", []byte("plainer"))
		after, err := f.Get(t.Context(), "https://feeds.example/plain.json", before.Validator, nil)
		if err != nil || after.Unchanged || bytes.Equal(before.Checksum, after.Checksum) {
			t.Errorf("%+v, %v", after, err)
		}
	})
}

func TestOpenBroken(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "feeds.example", "cut.json.gz")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, strings.Repeat("content ", 1000))
	z.Close()
	if err := os.WriteFile(name, b.Bytes()[:b.Len()-10], 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{Mirror: dir}).Get(t.Context(), "https://feeds.example/cut.json", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err == nil {
		t.Error("a gzip that was cut off read as whole")
	}
}
