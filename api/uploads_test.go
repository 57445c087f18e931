package api_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// rootFS returns the tar of a root file system of Debian 12 with these packages.
func rootFS(packages ...string) []byte {
	return clustertest.Tar(clustertest.DebianRelease, clustertest.Status(packages...))
}

func TestUpload(t *testing.T) {
	s := start(t, options{})
	for _, c := range []struct {
		name    string
		content []byte
	}{
		{"tar", rootFS("zlib1g 1")},
		{"gzip", clustertest.Debian("zlib1g 1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.upload(bytes.NewReader(c.content), "?name=app.tar")
			sub := a.submission(t)
			if a.status != http.StatusAccepted || sub.Title != "app.tar" || a.header.Get("Location") != "/api/v1/submissions/"+sub.ID {
				t.Fatalf("%d %+v", a.status, sub)
			}
			done := s.await(sub.ID)
			if done.State != api.StateComplete || len(done.Images) != 1 {
				t.Fatalf("%+v", done)
			}
			r, err := s.client.Report(t.Context(), done.Images[0].Digest, "app.tar")
			if err != nil || r.State != report.Complete || len(r.Packages) != 1 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	t.Run("a root file system that is cut off, which only its reading shows", func(t *testing.T) {
		whole := clustertest.Layer(clustertest.DebianRelease, clustertest.File{Name: "big", Content: noise(100_000)}, clustertest.Status("zlib1g 1"))
		done := s.await(s.upload(bytes.NewReader(whole[:len(whole)/2]), "").submission(t).ID)
		if done.State != api.StateIncomplete {
			t.Fatalf("%+v", done)
		}
		r, err := s.client.Report(t.Context(), done.Images[0].Digest, "")
		if err != nil || r.State != report.Incomplete || len(r.Coverage.Failed) != 1 || r.Coverage.Failed[0].Kind != "corrupt" {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("what is done is cleaned up", func(t *testing.T) {
		if kept := s.kept(); len(kept) == 0 {
			t.Fatal("cleaned up too early to be tested")
		}
		clustertest.Go(t, s.api.Run) // it looks at once
		clustertest.Eventually(t, "no file is left", func() bool { return len(s.kept()) == 0 })
	})
}

// TestUploadOfWhatIsNone holds that what cannot be scanned is refused at once, in words that help, with nothing left.
func TestUploadOfWhatIsNone(t *testing.T) {
	s := start(t, options{idle: true, api: func(c *api.Config) { c.MaxUploadBytes = 1 << 20 }})
	whole := clustertest.Tar(clustertest.File{Name: "manifest.json", Content: `[]`}, clustertest.File{Name: "rest", Content: strings.Repeat("x", 5000)})
	for _, c := range []struct {
		name    string
		content io.Reader
		status  int
		kind    string
		says    string
	}{
		{"nothing", strings.NewReader(""), 422, "invalid", "empty"},
		{"garbage", strings.NewReader(strings.Repeat("garbage ", 1000)), 415, "unsupported", ""},
		{"a text", strings.NewReader("hello"), 415, "unsupported", ""},
		{"a tar that is cut off", bytes.NewReader(whole[:3000]), 422, "corrupt", "ends early"},
		{"a gzip that is cut off", bytes.NewReader(gzipped(t, string(whole))[:60]), 422, "corrupt", "ends early"},
		{"a gzip of garbage", bytes.NewReader(gzipped(t, strings.Repeat("garbage ", 1000))), 415, "unsupported", ""},
		{"a tar of no image", bytes.NewReader(clustertest.Tar(clustertest.File{Name: "notes.txt", Content: "hello"})), 415, "unsupported", "no image archive"},
		{"a docker archive without its layers", bytes.NewReader(clustertest.Tar(clustertest.File{
			Name: "manifest.json", Content: `[{"Config":"c.json","Layers":["missing/layer.tar"]}]`,
		})), 422, "corrupt", "c.json"},
		{"a manifest that is no JSON", bytes.NewReader(clustertest.Tar(clustertest.File{Name: "manifest.json", Content: `[{]`})), 422, "corrupt", ""},
		{"too much", io.LimitReader(zeros{}, 1<<20+1), 413, "too-large", "1048576 bytes"},
		{"far too much, announced", io.NewSectionReader(zeros{}, 0, 1<<40), 413, "too-large", "1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := s.upload(c.content, "?name=app.tar").problem(t, c.status, "/problems/"+c.kind)
			if !strings.Contains(p.Detail, c.says) || !strings.HasPrefix(p.Detail, "upload app.tar: ") || strings.Contains(p.Detail, s.uploads) {
				t.Errorf("detail: %s", p.Detail)
			}
			if kept := s.kept(); len(kept) != 0 {
				t.Errorf("left behind: %v", kept)
			}
		})
	}
}

// noise returns text that does not compress.
func noise(bytes int) string {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, bytes)
	_, _ = r.Read(b)
	return string(b)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func gzipped(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, content)
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUploadNames(t *testing.T) {
	s := start(t, options{idle: true})
	for _, c := range []struct{ query, title string }{
		{"", "upload "},
		{"?name=", "upload "},
		{"?name=a%2Fb%5C..%2Fc.tar", `a/b\../c.tar`},
		{"?name=%E2%9C%93%20x", "✓ x"},
		{"?name=%1B%5B31mred%00%07", "\uFFFD[31mred\uFFFD\uFFFD"},
		{"?name=%FF", "\uFFFD"},
		{"?name=%3Cscript%3E", "<script>"},
	} {
		sub := s.upload(bytes.NewReader(rootFS("zlib1g 1")), c.query).submission(t)
		if !strings.HasPrefix(sub.Title, c.title) {
			t.Errorf("%s: title %q, want %q", c.query, sub.Title, c.title)
		}
	}
	s.upload(bytes.NewReader(rootFS("zlib1g 1")), "?name="+strings.Repeat("a", 1025)).problem(t, http.StatusUnprocessableEntity, "/problems/invalid")
}

// TestUploadIsStreamed holds that an upload costs no memory in proportion to its size.
func TestUploadIsStreamed(t *testing.T) {
	s := start(t, options{idle: true})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const size = 256 << 20
	s.upload(io.MultiReader(bytes.NewReader(rootFS("zlib1g 1")), io.LimitReader(zeros{}, size)), "").submission(t)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size/8 {
		t.Errorf("an upload of %d MiB allocated %d MiB", size>>20, grown>>20)
	}
}

// TestSlowUpload holds that one who sends next to nothing does not hold a file and a connection for ever, and that one
// who is as slow as a bad line is served.
func TestSlowUpload(t *testing.T) {
	s := start(t, options{idle: true, api: func(c *api.Config) { c.UploadIdle = time.Second }})
	trickle := func(piece int, pause time.Duration) io.Reader {
		r, w := io.Pipe()
		go func() {
			defer w.Close()
			content := append(rootFS("zlib1g 1"), make([]byte, 512<<10)...)
			for len(content) > 0 {
				n, err := w.Write(content[:min(piece, len(content))])
				if err != nil {
					return
				}
				content = content[n:]
				select {
				case <-time.After(pause):
				case <-t.Context().Done():
					return
				}
			}
		}()
		return r
	}
	for _, c := range []struct {
		name  string
		piece int
		pause time.Duration
		fine  bool
	}{
		{"nothing comes any more", 10 << 10, time.Hour, false},
		{"a byte now and then", 1, 20 * time.Millisecond, false},
		{"slow", 48 << 10, 100 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			a := s.upload(trickle(c.piece, c.pause), "")
			if c.fine {
				a.submission(t)
				return
			}
			a.problem(t, http.StatusUnprocessableEntity, "/problems/invalid")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("refused after %s", took)
			}
			if kept := s.kept(); len(kept) != 0 {
				t.Errorf("left behind: %v", kept)
			}
		})
	}
}

// TestUploadThatTakesLongToOpen holds that the time for the body is not that for looking into it.
func TestUploadThatTakesLongToOpen(t *testing.T) {
	s := start(t, options{idle: true, api: func(c *api.Config) { c.UploadIdle = 50 * time.Millisecond }})
	// What tells the kind of archive stands behind much of something else.
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	err = w.WriteHeader(&tar.Header{Name: "something", Mode: 0o644, Size: 192 << 20})
	if err == nil {
		_, err = io.Copy(w, io.LimitReader(zeros{}, 192<<20))
	}
	if err == nil {
		_, err = z.Write(rootFS("zlib1g 1"))
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.upload(bytes.NewReader(b.Bytes()), "").submission(t)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Skipf("it was looked into in %s, too fast to be tested", took)
	}
}

// TestInterruptedUpload holds that an upload that breaks off leaves nothing.
func TestInterruptedUpload(t *testing.T) {
	s := start(t, options{idle: true})
	connection, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "POST /api/v1/archives HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n%s", rootFS("zlib1g 1"))
	if err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "something came", func() bool { return len(s.kept()) == 1 })
	connection.Close()
	clustertest.Eventually(t, "nothing is left", func() bool { return len(s.kept()) == 0 })
}

// TestFullDisk holds that a full disk is told as our trouble, and leaves nothing.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system is needed, and cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	s := start(t, options{idle: true, api: func(c *api.Config) { c.UploadDir = dir }})
	s.uploads = dir
	s.upload(io.MultiReader(bytes.NewReader(rootFS("zlib1g 1")), io.LimitReader(zeros{}, 1<<20)), "").
		problem(t, http.StatusServiceUnavailable, "/problems/unavailable")
	if kept := s.kept(); len(kept) != 0 {
		t.Errorf("left behind: %v", kept)
	}
	s.upload(bytes.NewReader(rootFS("zlib1g 1")), "").submission(t)
}

// TestUploadsAreServedAlone holds that the registry of uploads serves nothing else.
func TestUploadsAreServedAlone(t *testing.T) {
	s := start(t, options{idle: true})
	sub := s.upload(bytes.NewReader(rootFS("zlib1g 1")), "").submission(t)
	if err := os.WriteFile(filepath.Join(s.uploads, "secret"), rootFS("zlib1g 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/v2/uploads/" + sub.ID + "/manifests/latest":                   200,
		"/v2/uploads/" + strings.ToUpper(sub.ID) + "/manifests/latest":  404,
		"/v2/uploads/secret/manifests/latest":                           404,
		"/v2/uploads/..%2f" + sub.ID + "/manifests/latest":              404,
		"/v2/" + sub.ID + "/manifests/latest":                           404,
		"/v2/uploads/00000000-0000-7000-8000-000000000000/blobs/sha256": 404,
	} {
		if a := s.do(http.MethodGet, path, nil); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	if a := s.do(http.MethodPut, "/v2/uploads/"+sub.ID+"/manifests/latest", "{}"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("a push is answered %d", a.status)
	}
}
