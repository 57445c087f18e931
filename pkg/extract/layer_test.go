package extract

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// debian is an archive of a small Debian, with some weight.
func debian(t testing.TB) []byte {
	t.Helper()
	return pack(t, file("etc/os-release", debianRelease), file("usr/bin/x", strings.Repeat("0123456789abcdef", 100_000)), file("var/lib/dpkg/status", status("a", "b")))
}

var debianLines = []string{"release etc/os-release: debian", "database var/lib/dpkg/status: a b"}

// compressedWith runs a tool.
func compressedWith(t testing.TB, tool string, content []byte) []byte {
	t.Helper()
	cmd := exec.Command(tool, "-c")
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIPPED, no %s to make streams with: %v", tool, err)
	}
	return out
}

func TestCompressions(t *testing.T) {
	archive := debian(t)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "skip"...)
	for _, c := range []struct {
		name string
		make func(t *testing.T) []byte
		want Compression
	}{
		{"none", func(*testing.T) []byte { return archive }, None},
		{"gzip", func(t *testing.T) []byte { return gzipped(t, archive) }, Gzip},
		{"gzip in members", func(t *testing.T) []byte {
			return append(gzipped(t, archive[:5000]), gzipped(t, archive[5000:])...)
		}, Gzip},
		{"zstd", func(t *testing.T) []byte { return zstandard(t, archive) }, Zstd},
		{"zstd at its best", func(t *testing.T) []byte {
			return zstandard(t, archive, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		}, Zstd},
		{"zstd in frames, some to be skipped", func(t *testing.T) []byte {
			return bytes.Join([][]byte{skippable, zstandard(t, archive[:5000]), zstandard(t, archive[5000:]), skippable}, nil)
		}, Zstd},
		{"bzip2", func(t *testing.T) []byte { return compressedWith(t, "bzip2", archive) }, Bzip2},
		{"xz", func(t *testing.T) []byte { return compressedWith(t, "xz", archive) }, XZ},
	} {
		t.Run(c.name, func(t *testing.T) {
			layerBytes := c.make(t)
			var x Extractor
			for range 2 { // the second time with buffers that were used before
				var last int64
				blob := Blob{Digest: digest.SHA256(layerBytes), Size: int64(len(layerBytes)), Progress: func(n int64) { last = n }}
				layer, stats, err := x.Layer(t.Context(), opener(layerBytes), blob)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(debianLines, printed(layer)); diff != "" {
					t.Errorf("want (-), got (+):\n%s", diff)
				}
				want := Stats{
					CompressedBytes: int64(len(layerBytes)), InflatedBytes: int64(len(archive)), Entries: 3, Files: 2, Passes: 1,
					Compression: c.want, Digest: blob.Digest, Duration: stats.Duration,
				}
				if c.want == None {
					want.DiffID = blob.Digest
				}
				if diff := cmp.Diff(want, stats, cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); diff != "" {
					t.Errorf("stats: want (-), got (+):\n%s", diff)
				}
				if last != blob.Size {
					t.Errorf("progress ended at %d of %d bytes", last, blob.Size)
				}
			}
		})
	}
}

// TestDigestOfArchive is about blobs that are named by the digest of what they inflate to.
func TestDigestOfArchive(t *testing.T) {
	archive := debian(t)
	for _, layerBytes := range [][]byte{archive, gzipped(t, archive)} {
		layer, stats, err := Layer(t.Context(), opener(layerBytes), Blob{Digest: digest.SHA256(archive), Inflated: true}, limits.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(debianLines, printed(layer)); diff != "" || stats.DiffID != digest.SHA256(archive) {
			t.Errorf("diff ID %v, want (-), got (+):\n%s", stats.DiffID, diff)
		}
		_, _, err = Layer(t.Context(), opener(layerBytes), Blob{Digest: digest.SHA256([]byte("other")), Inflated: true}, limits.Limits{})
		var mismatch *digest.MismatchError
		if !errors.As(err, &mismatch) {
			t.Errorf("another digest: %v", err)
		}
	}
}

func TestErrors(t *testing.T) {
	archive := debian(t)
	gz, zs := gzipped(t, archive), zstandard(t, archive)
	other := digest.SHA256([]byte("other"))
	changed := func(b []byte, offset int) []byte {
		b = bytes.Clone(b)
		b[(offset+len(b))%len(b)] ^= 0x55
		return b
	}
	for _, c := range []struct {
		name  string
		layer []byte
		blob  Blob
		kind  fault.Kind
		text  string // in the error
	}{
		{"wrong digest", gz, Blob{Digest: other}, fault.Corrupt, "digest mismatch: want " + other.String()},
		{"wrong digest of an archive", archive, Blob{Digest: other}, fault.Corrupt, "digest mismatch"},
		{"more bytes than said", gz, Blob{Size: int64(len(gz)) - 1}, fault.Corrupt, "more than the"},
		{"fewer bytes than said", gz, Blob{Size: int64(len(gz)) + 1}, fault.Corrupt, "it ends after"},
		{"text", []byte(strings.Repeat(`{"not":"a tar"}`, 100)), Blob{}, fault.Unsupported, "not a tar archive"},
		{"compressed text", gzipped(t, []byte(strings.Repeat(`{"not":"a tar"}`, 100))), Blob{}, fault.Unsupported, "not a tar archive"},
		{"an error page instead of the layer", []byte(strings.Repeat("<html>", 200)), Blob{Digest: other}, fault.Corrupt, "digest mismatch"},
		{"gzip cut", gz[:len(gz)/2], Blob{Digest: digest.SHA256(gz[:len(gz)/2])}, fault.Corrupt, "gzip at byte"},
		{"gzip cut, and so another digest", gz[:len(gz)/2], Blob{Digest: digest.SHA256(gz)}, fault.Corrupt, "digest mismatch"},
		{"gzip with a wrong checksum", changed(gz, -6), Blob{}, fault.Corrupt, "checksum of the content"},
		{"gzip with a wrong length", changed(gz, -2), Blob{}, fault.Corrupt, "length of the content"},
		{"zstd cut", zs[:len(zs)/2], Blob{}, fault.Corrupt, "inflate zstd near byte"},
		{"zstd damaged", changed(zs, len(zs)/2), Blob{}, fault.Corrupt, "inflate zstd near byte"},
		{"zstd with garbage behind", append(bytes.Clone(zs), "garbage"...), Blob{}, fault.Corrupt, "inflate zstd near byte"},
		{"bzip2 damaged", append([]byte("BZh9\x31\x41\x59\x26\x53\x59"), make([]byte, 100)...), Blob{}, fault.Corrupt, "inflate bzip2 near byte"},
		{"xz damaged", append([]byte("\xfd7zXZ\x00"), make([]byte, 100)...), Blob{}, fault.Corrupt, "inflate xz near byte"},
		{"archive cut", archive[:100_000], Blob{}, fault.Corrupt, "tar at byte 100000: unexpected end of archive"},
		{"archive damaged", changed(archive, 1024+1), Blob{}, fault.Corrupt, "tar at byte 1024: invalid header"},
		{"archive cut in a database", archive[:len(archive)-1024-500], Blob{}, fault.Corrupt, "unexpected end of archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			layer, _, err := Layer(t.Context(), opener(c.layer), c.blob, limits.Limits{})
			if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v of kind %v, want %q of kind %v", err, fault.KindOf(err), c.text, c.kind)
			}
			if !layer.IsEmpty() {
				t.Errorf("with an error: %+v", layer)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "extract layer "+c.blob.Digest.String()+": ") {
				t.Errorf("it does not say what was being done: %v", err)
			}
			var mismatch *digest.MismatchError
			if errors.As(err, &mismatch) != strings.Contains(c.text, "digest mismatch") {
				t.Errorf("MismatchError is not told: %v", err)
			}
		})
	}
}

// TestTrailing is about bytes behind the end: of the archive, and of the compressed stream.
func TestTrailing(t *testing.T) {
	archive := debian(t)
	behind := append(bytes.Clone(archive), strings.Repeat("anything ", 200_000)...)
	for _, layerBytes := range [][]byte{behind, gzipped(t, behind), append(gzipped(t, archive), make([]byte, 2<<20)...)} {
		_, stats, err := Layer(t.Context(), opener(layerBytes), Blob{Digest: digest.SHA256(layerBytes)}, limits.Limits{})
		if err != nil || stats.CompressedBytes != int64(len(layerBytes)) {
			t.Errorf("%d of %d bytes, %v", stats.CompressedBytes, len(layerBytes), err)
		}
	}
	garbage := append(gzipped(t, archive), strings.Repeat("garbage", 100_000)...)
	layer, _, err := Layer(t.Context(), opener(garbage), Blob{Digest: digest.SHA256(garbage)}, limits.Limits{})
	want := append(debianLines[:2:2], "problem : 700000 bytes that follow the compressed stream and are no part of it were ignored")
	if diff := cmp.Diff(want, printed(layer)); diff != "" || err != nil {
		t.Errorf("%v, want (-), got (+):\n%s", err, diff)
	}
}

// TestOpenerErrors holds that errors of the opener and its stream keep their kind, and that those which look like a
// broken format are none.
func TestOpenerErrors(t *testing.T) {
	gz := gzipped(t, debian(t))
	limited := fault.Newf(fault.RateLimited, "get", "blob", "slow down")
	for _, broken := range []error{limited, io.ErrUnexpectedEOF, fault.Newf(fault.Corrupt, "read", "blob", "odd")} {
		open := func(context.Context) (io.ReadCloser, error) { return nil, broken }
		_, _, err := Layer(t.Context(), open, Blob{}, limits.Limits{})
		if !errors.Is(err, broken) || fault.KindOf(err) != fault.KindOf(broken) {
			t.Errorf("opener: got %v, want %v", err, broken)
		}
		for _, layerBytes := range [][]byte{gz, zstandard(t, debian(t)), debian(t)} {
			for n := 0; n < len(layerBytes); n += 1 + len(layerBytes)/20 {
				open := func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(bytes.NewReader(layerBytes[:n]), iotest.ErrReader(broken))), nil
				}
				_, _, err := Layer(t.Context(), open, Blob{Digest: digest.SHA256(gz)}, limits.Limits{})
				if !errors.Is(err, broken) || fault.KindOf(err) != fault.KindOf(broken) {
					t.Fatalf("stream broken off at byte %d: got %v, want %v", n, err, broken)
				}
			}
		}
	}
}

// TestSecondPassVerifies holds that the second pass trusts the layer no more than the first.
func TestSecondPassVerifies(t *testing.T) {
	first := pack(t, file("x", debianRelease), symlink("etc/os-release", "/x"))
	second := pack(t, file("x", alpineRelease), symlink("etc/os-release", "/x"))
	layers := [][]byte{first, second}
	open := func(context.Context) (io.ReadCloser, error) {
		b := layers[0]
		layers = layers[1:]
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	_, _, err := Layer(t.Context(), open, Blob{Digest: digest.SHA256(first)}, limits.Limits{})
	var mismatch *digest.MismatchError
	if !errors.As(err, &mismatch) {
		t.Errorf("got %v", err)
	}
}

// endless is a stream that gives what it has and then blocks until it is closed.
type endless struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newEndless(b []byte) *endless {
	return &endless{Reader: bytes.NewReader(b), closed: make(chan struct{})}
}

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.Reader.Read(p); err == nil {
		return n, nil
	}
	<-e.closed
	return 0, os.ErrClosed
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func TestCancellation(t *testing.T) {
	gz := gzipped(t, debian(t))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Minute) // fake
			cancel()
		}()
		began := time.Now()
		_, _, err := Layer(ctx, func(context.Context) (io.ReadCloser, error) { return newEndless(gz[:len(gz)/2]), nil }, Blob{}, limits.Limits{})
		if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Canceled || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, _, err := Layer(t.Context(), func(context.Context) (io.ReadCloser, error) { return newEndless(nil), nil }, Blob{}, limits.Limits{LayerTime: time.Hour})
		var limit *limits.Error
		if !errors.As(err, &limit) || limit.Unit != "seconds" || limit.Most != 3600 || fault.KindOf(err) != fault.TooLarge || time.Since(began) != time.Hour {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// BenchmarkLayer is about layers so small that what it takes to begin and end counts; package bench has large ones.
func BenchmarkLayer(b *testing.B) {
	for name, archive := range map[string][]byte{
		"nothing to find": pack(b, file("etc/passwd", "root"), file("usr/bin/x", "x")),
		"a database":      pack(b, file("etc/os-release", debianRelease), file("var/lib/dpkg/status", status(strings.Fields(strings.Repeat("package ", 200))...))),
	} {
		b.Run(name, func(b *testing.B) {
			layerBytes := gzipped(b, archive)
			blob := Blob{Digest: digest.SHA256(layerBytes), Size: int64(len(layerBytes))}
			var x Extractor
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := x.Layer(b.Context(), opener(layerBytes), blob); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
