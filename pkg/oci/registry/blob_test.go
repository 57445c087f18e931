package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

const testHost = "registry.example"

var repo = Repository{Host: testHost, Name: "team/app"}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// script answers the first request with its first step, and so on; the last step is repeated.
type script struct {
	t     *testing.T
	steps []http.HandlerFunc
	mu    sync.Mutex
	seen  []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.seen)
	s.seen = append(s.seen, r.Header.Get("Range"))
	s.mu.Unlock()
	s.steps[min(n, len(s.steps)-1)](w, r)
}

// asked returns the Range header of each request so far.
func (s *script) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Steps of a script. Offsets are those of the blob.
func whole(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

func ignoringRange(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
	}
}

// breaking serves from the offset asked for and cuts the connection after n bytes.
func breaking(b []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from := offsetOf(r)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(b[from:min(from+n, len(b))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func breakingIgnoringRange(b []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		breaking(b, n)(w, r)
	}
}

// hanging serves n bytes and then nothing until the client is gone.
func hanging(b []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b[:n])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// chunked serves b without saying how long it is.
func chunked(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.Write(b)
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// part claims to serve a part, whatever was asked for.
func part(b []byte, first, last, total int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, total))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(b[first : last+1])
	}
}

func offsetOf(r *http.Request) int {
	s := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

func TestBlob(t *testing.T) {
	b := randomBytes(200_000)
	longer, shorter := append(bytes.Clone(b), 'x'), b[:150_000]
	steps := func(s ...http.HandlerFunc) []http.HandlerFunc { return s }
	for _, c := range []struct {
		name  string
		steps []http.HandlerFunc
		size  int64
		want  fault.Kind // of the error; Unknown: none
		asked string     // ranges of the requests
		took  time.Duration
		text  string
	}{
		{name: "it comes whole", steps: steps(whole(b)), size: 200_000, asked: "[]"},
		{name: "it comes whole and its size is not known", steps: steps(whole(b)), asked: "[]"},
		{name: "neither side knows its size", steps: steps(chunked(b)), asked: "[]"},
		{name: "only the manifest knows its size", steps: steps(chunked(b)), size: 200_000, asked: "[]"},
		{name: "it breaks twice and is taken up where it broke", steps: steps(breaking(b, 70_000), breaking(b, 70_000), whole(b)), size: 200_000, asked: "[ bytes=70000- bytes=140000-]"},
		{name: "it breaks and its size is not known", steps: steps(breaking(b, 70_000), whole(b)), asked: "[ bytes=70000-]"},
		{name: "ranges are ignored", steps: steps(breaking(b, 70_000), ignoringRange(b)), size: 200_000, asked: "[ bytes=70000-]"},
		{name: "ranges are ignored, and it breaks again before the old place", steps: steps(breaking(b, 70_000), breakingIgnoringRange(b, 30_000), ignoringRange(b)), size: 200_000, asked: "[ bytes=70000- bytes=70000-]"},
		{name: "500 on the way", steps: steps(breaking(b, 70_000), status(500), whole(b)), size: 200_000, asked: "[ bytes=70000- bytes=70000-]"},
		{name: "it stalls", steps: steps(hanging(b, 70_000), whole(b)), size: 200_000, asked: "[ bytes=70000-]", took: 30 * time.Second},
		{name: "it stalls for good", steps: steps(hanging(b, 70_000)), size: 200_000, want: fault.Unavailable, asked: "[ bytes=70000-]", took: time.Minute, text: "transfer stalled"},
		{name: "the header never comes", steps: steps(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, whole(b)), size: 200_000, asked: "[ ]", took: 30 * time.Second},
		{name: "503 with a short Retry-After", steps: steps(status(503, "Retry-After", "7"), whole(b)), size: 200_000, asked: "[ ]", took: 7 * time.Second},
		{name: "503 with a long Retry-After is the caller's to plan", steps: steps(status(503, "Retry-After", "600")), size: 200_000, want: fault.Unavailable, asked: "[]"},
		{name: "500 for ever", steps: steps(status(500)), size: 200_000, want: fault.Unavailable, asked: "[     ]", text: "500 Internal Server Error"},
		{name: "404", steps: steps(status(404)), size: 200_000, want: fault.NotFound, asked: "[]"},
		{name: "404 after a break", steps: steps(breaking(b, 70_000), status(404)), size: 200_000, want: fault.NotFound, asked: "[ bytes=70000-]"},
		{name: "429", steps: steps(status(429, "Retry-After", "3")), size: 200_000, want: fault.RateLimited, asked: "[]"},
		{name: "429 after a break, with a short wait", steps: steps(breaking(b, 70_000), status(429, "Retry-After", "3"), whole(b)), size: 200_000, asked: "[ bytes=70000- bytes=70000-]", took: 3 * time.Second},
		{name: "it is longer than the manifest says", steps: steps(whole(longer)), size: 200_000, want: fault.Corrupt, asked: "[     ]", text: "200001 bytes, its manifest says 200000"},
		{name: "it is longer and does not say so", steps: steps(chunked(longer)), size: 200_000, want: fault.Corrupt, asked: "[]", text: "longer than the 200000 bytes"},
		{name: "it is shorter than the manifest says", steps: steps(whole(shorter)), size: 200_000, want: fault.Corrupt, asked: "[     ]", text: "150000 bytes, its manifest says 200000"},
		{name: "it has another length once", steps: steps(whole(longer), whole(shorter), whole(b)), size: 200_000, asked: "[  ]"},
		{name: "it has another length once, midway", steps: steps(breaking(b, 70_000), whole(shorter), whole(b)), size: 200_000, asked: "[ bytes=70000- bytes=70000-]"},
		{name: "it is shorter and does not say so, and the range shows it", steps: steps(chunked(shorter), whole(shorter)), size: 200_000, want: fault.Corrupt, asked: "[ bytes=150000- bytes=150000- bytes=150000- bytes=150000- bytes=150000-]", text: "150000 bytes"},
		{name: "it ends early again and again", steps: steps(chunked(shorter)), size: 200_000, want: fault.Unavailable, text: "interrupted at byte 150000"},
		{name: "it has another length the second time", steps: steps(breaking(b, 70_000), whole(longer)), want: fault.Corrupt, asked: "[ bytes=70000- bytes=70000- bytes=70000- bytes=70000- bytes=70000-]", text: "and had 200000 before"},
		{name: "another part comes", steps: steps(breaking(b, 70_000), part(b, 60_000, 199_999, 200_000)), size: 200_000, want: fault.Unavailable, text: "another part"},
		{name: "another part comes once", steps: steps(breaking(b, 70_000), part(b, 60_000, 199_999, 200_000), whole(b)), size: 200_000, asked: "[ bytes=70000- bytes=70000-]"},
		{name: "a smaller part comes, then the rest", steps: steps(breaking(b, 70_000), part(b, 70_000, 99_999, 200_000), whole(b)), size: 200_000, asked: "[ bytes=70000- bytes=100000-]"},
		{name: "a part comes where the whole was asked for", steps: steps(part(b, 0, 99_999, 200_000)), size: 200_000, want: fault.Unavailable, text: "another part"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemoryNet()
				s := &script{t: t, steps: c.steps}
				m.serve(t, testHost, s)
				cl := m.client(t, Config{RetryDelay: time.Millisecond})
				start := time.Now()
				got, err := readBlob(t.Context(), cl, c.size)
				if c.want != fault.Unknown {
					wantKind(t, err, c.want)
					wantText(t, err, "get blob registry.example/team/app@sha256:", c.text)
				} else if err != nil || !bytes.Equal(got, b) {
					t.Errorf("got %d bytes (equal: %t) and %v", len(got), bytes.Equal(got, b), err)
				}
				if c.size > 0 && int64(len(got)) > c.size {
					t.Errorf("got %d bytes, more than the size", len(got))
				}
				if asked := fmt.Sprint(s.asked()); c.asked != "" && asked != c.asked {
					t.Errorf("asked for %s, want %s", asked, c.asked)
				}
				if took := time.Since(start); took < c.took || took > c.took+time.Second {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func readBlob(ctx context.Context, c *Client, size int64) ([]byte, error) {
	r, err := c.Blob(ctx, repo, digest.SHA256([]byte("any")), size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// A reader that takes its time is not a transfer that stalls.
func TestBlobSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := randomBytes(100_000)
		m := newMemoryNet()
		s := &script{t: t, steps: []http.HandlerFunc{whole(b)}}
		m.serve(t, testHost, s)
		r, err := m.client(t, Config{}).Blob(t.Context(), repo, digest.SHA256(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		v := digest.SHA256(b).Verifier()
		for p := make([]byte, 30_000); ; {
			n, err := r.Read(p)
			v.Write(p[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // fake
		}
		if err := v.Err(); err != nil || len(s.asked()) != 1 {
			t.Errorf("%v after %d requests", err, len(s.asked()))
		}
	})
}

func TestBlobCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := randomBytes(100_000)
		m := newMemoryNet()
		m.serve(t, testHost, &script{t: t, steps: []http.HandlerFunc{hanging(b, 50_000)}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		got, err := readBlob(ctx, m.client(t, Config{}), int64(len(b)))
		wantKind(t, err, fault.Canceled)
		if len(got) != 50_000 {
			t.Errorf("got %d bytes before", len(got))
		}
	})
}

// However a transfer breaks, what is read is the beginning of the blob, and all of it if there is no error.
func TestBlobProperty(t *testing.T) {
	b := randomBytes(100_000)
	rapid.Check(t, func(rt *rapid.T) {
		var steps []http.HandlerFunc
		for range rapid.IntRange(0, 8).Draw(rt, "breaks") {
			switch n := rapid.IntRange(0, 60_000).Draw(rt, "bytes"); rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
				steps = append(steps, status(502))
			case 1:
				steps = append(steps, ignoringRange(b))
			case 2:
				steps = append(steps, hanging(b, n))
			case 3:
				steps = append(steps, part(b, n, len(b)-1, len(b)))
			default:
				steps = append(steps, breaking(b, n))
			}
		}
		steps = append(steps, whole(b))
		size := rapid.SampledFrom([]int64{0, 100_000}).Draw(rt, "size")
		retries := rapid.IntRange(1, 8).Draw(rt, "retries")
		synctest.Test(t, func(t *testing.T) {
			m := newMemoryNet()
			s := &script{t: t, steps: steps}
			m.serve(t, testHost, s)
			got, err := readBlob(t.Context(), m.client(t, Config{Retries: retries}), size)
			if !bytes.HasPrefix(b, got) {
				rt.Errorf("%d bytes that are not the beginning of the blob", len(got))
			}
			if err == nil && len(got) != len(b) {
				rt.Errorf("%d of %d bytes and no error", len(got), len(b))
			}
			if err != nil && fault.KindOf(err) != fault.Unavailable {
				rt.Errorf("kind %v of %v", fault.KindOf(err), err)
			}
			if len(s.asked()) > retries+1 {
				rt.Errorf("%d requests with %d retries", len(s.asked()), retries)
			}
		})
	})
}

// Progress earns retries, so that a long transfer may break often, and a hopeless one ends.
func TestBlobRefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := randomBytes(6 * refillBytes)
		m := newMemoryNet()
		s := &script{t: t, steps: []http.HandlerFunc{breaking(b, refillBytes+1)}}
		m.serve(t, testHost, s)
		got, err := readBlob(t.Context(), m.client(t, Config{Retries: 1}), int64(len(b)))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d of %d bytes after %d requests: %v", len(got), len(b), len(s.asked()), err)
		}
	})
}
