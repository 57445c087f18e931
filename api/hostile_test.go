package api_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// TestBrokenLayers holds what becomes of images with a layer that cannot be read, or not all of it.
func TestBrokenLayers(t *testing.T) {
	s := start(t, options{backoff: time.Millisecond, limits: limits.Limits{ParsedFileBytes: 1 << 20}})
	file := func(name, content string) clustertest.File { return clustertest.File{Name: name, Content: content} }
	salt := func() clustertest.File { return file("etc/unique", rand.Text()) }
	of := func(layers ...[]byte) func(*testing.T, *clustertest.Registry, string) string {
		return func(t *testing.T, r *clustertest.Registry, name string) string {
			return r.Push(t, name, "1", layers...)
		}
	}
	whole := clustertest.Layer(clustertest.DebianRelease, salt(), file("noise", noise(100_000)), clustertest.Status("zlib1g 1"))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	good := clustertest.Debian("zlib1g 1")
	scanBeside(t, s, []badImage{
		{name: "gzip that is cut off", push: of(whole[:len(whole)/2]), state: api.StateIncomplete, kind: "corrupt", attempts: 1},
		{name: "gzip with a bit that is wrong", push: of(flipped), state: api.StateIncomplete, kind: "corrupt", attempts: 1},
		{name: "a tar that is cut off", push: of(clustertest.Tar(salt(), file("x", strings.Repeat("x", 5000)))[:3000]), state: api.StateIncomplete, kind: "corrupt", attempts: 1},
		{name: "garbage", push: of([]byte(strings.Repeat("garbage"+rand.Text(), 1000))), state: api.StateIncomplete, kind: "unsupported", attempts: 1},
		{name: "gzipped garbage", push: of(gzipped(t, strings.Repeat("garbage"+rand.Text(), 1000))), state: api.StateIncomplete, kind: "unsupported", attempts: 1},
		{name: "nothing at all, which is an empty archive", push: of(good, []byte{}), state: api.StateComplete, packages: 1},
		{name: "a broken layer over a good one", push: of(good, whole[:len(whole)/3]), state: api.StateIncomplete, kind: "corrupt", attempts: 1, packages: 1},
		{
			name: "paths that lead out", state: api.StateIncomplete, kind: "corrupt", says: []string{"leads out"}, packages: 1,
			push: of(good, clustertest.Layer(salt(), file("../../etc/passwd", "x"), file("../../var/lib/dpkg/status", clustertest.Status("evil 1").Content))),
		},
		{
			name: "a package database with a record that is broken", state: api.StateIncomplete, kind: "corrupt", says: []string{"no Version"}, packages: 2,
			push: of(clustertest.Layer(clustertest.DebianRelease, salt(), file("var/lib/dpkg/status",
				clustertest.Status("zlib1g 1").Content+"Package: odd\nStatus: install ok installed\n\n"+clustertest.Status("perl 5").Content))),
		},
		{
			name: "a package database of garbage", state: api.StateIncomplete, kind: "corrupt",
			push: of(clustertest.Layer(clustertest.DebianRelease, salt(), file("var/lib/dpkg/status", noise(10_000)))),
		},
		{
			name: "names that are none", state: api.StateIncomplete, kind: "corrupt", packages: 1,
			push: of(clustertest.Layer(clustertest.DebianRelease, salt(), clustertest.Status("zlib1g 1", "a\x00b 1", "long"+strings.Repeat("x", 5000)+" 1"))),
		},
		{
			name: "a package database that is too large", state: api.StateIncomplete, kind: "too-large", says: []string{"1048576"},
			push: of(clustertest.Layer(clustertest.DebianRelease, salt(), file("var/lib/dpkg/status", strings.Repeat(clustertest.Status("zlib1g 1").Content, 20_000)))),
		},
		{
			name: "a release file that is none", state: api.StateIncomplete, kind: "corrupt", packages: 1,
			push: of(clustertest.Layer(salt(), file("etc/os-release", "ID='debian"), clustertest.Status("zlib1g 1"))),
		},
		{
			name: "an rpm database of garbage", state: api.StateIncomplete, kind: "corrupt",
			push: of(clustertest.Layer(salt(), file("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\x00"+noise(8176)))),
		},
	})
}

// TestCorruptRPMDatabases cuts databases of real images short, and changes bytes in them.
func TestCorruptRPMDatabases(t *testing.T) {
	s := start(t, options{backoff: time.Millisecond})
	for name, path := range map[string]string{
		"Berkeley DB": "centos-5/var/lib/rpm/Packages", "ndb": "opensuse-leap-15.5/usr/lib/sysimage/rpm/Packages.db", "sqlite": "rocky-9.2/var/lib/rpm/rpmdb.sqlite",
	} {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(realdata.Path(t, "roots/"+path))
			if err != nil {
				t.Fatal(err)
			}
			inside := path[strings.IndexByte(path, '/')+1:]
			image := func(content []byte) string {
				layer := clustertest.Layer(clustertest.File{Name: "etc/unique", Content: rand.Text()}, clustertest.File{Name: inside, Content: string(content)})
				return s.registry.Push(t, "rpm", rand.Text(), layer)
			}
			whole := s.scan(image(content))
			r, err := s.client.Report(t.Context(), whole.Images[0].Digest, "")
			if err != nil || whole.State != api.StateComplete || len(r.Packages) == 0 {
				t.Fatalf("whole: %s with %d packages, %v", whole.State, len(r.Packages), err)
			}
			zeroed := bytes.Clone(content)
			clear(zeroed[len(zeroed)/3 : len(zeroed)/2])
			for damage, broken := range map[string][]byte{
				"half": content[:len(content)/2], "a page": content[:4096], "a few bytes": content[:10], "zeroed": zeroed,
			} {
				done := s.scan(image(broken))
				r, err := s.client.Report(t.Context(), done.Images[0].Digest, "")
				if err != nil || done.State != api.StateIncomplete || len(r.Coverage.Failed) == 0 || r.Coverage.Failed[0].Path != inside {
					t.Errorf("%s: %s, %d packages of %d, failed %+v, %v", damage, done.State, len(r.Packages), whole.Images[0].Layers, r.Coverage.Failed, err)
				}
			}
		})
	}
}

// TestBombs holds that layers made to cost without end come to one, in bounded memory.
func TestBombs(t *testing.T) {
	s := start(t, options{backoff: time.Millisecond})
	made := func(digest string, write func(io.Writer) error) badImage {
		return badImage{
			push: func(t *testing.T, r *clustertest.Registry, name string) string {
				m := clustertest.NewManifest()
				m.Layers = []clustertest.Descriptor{{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: digest}}
				return r.PushManifest(t, name, "1", m)
			},
			fault: onBlobs(func(w http.ResponseWriter, _ *http.Request) { _ = write(w) }), // the reader goes away when it has enough
			state: api.StateIncomplete, kind: "too-large", attempts: 1,
		}
	}
	zeros := made(fakeDigest("zeros"), func(w io.Writer) error { return repeat(w, gzipOfZeros(t, 64<<20), 100<<30/(64<<20)) })
	zeros.name, zeros.says = "100 GB of zeros in a gzip of 100 MB", []string{"to 1"}
	some := gzipOfEntries(t, 100_000)
	entries := made(fakeDigest("entries"), func(w io.Writer) error { return repeat(w, some, 10_000_000/100_000) })
	entries.name, entries.says = "10 million files", []string{"5000000 entries"}

	stop, peak := make(chan struct{}), make(chan uint64)
	go watchHeap(stop, peak)
	scanBeside(t, s, []badImage{zeros, entries})
	close(stop)
	if used := <-peak; used > 256<<20 {
		t.Errorf("%d MiB of memory at most, etcd, Kafka and a registry included", used>>20)
	} else {
		t.Logf("%d MiB of memory at most, etcd, Kafka and a registry included", used>>20)
	}
}

func fakeDigest(name string) string { return digest.SHA256([]byte(name)).String() }

// watchHeap sends the most memory that was in use until stop is closed.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	var most uint64
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse+m.StackInuse)
		select {
		case <-stop:
			peak <- most
			return
		case <-ticker.C:
		}
	}
}

func gzipOfZeros(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.CopyN(z, zeros{}, size); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// repeat writes a gzip member again and again, which makes one stream.
func repeat(w io.Writer, member []byte, times int) error {
	for range times {
		if _, err := w.Write(member); err != nil {
			return err
		}
	}
	return nil
}

// gzipOfEntries returns a gzipped tar of that many empty files, without its end.
func gzipOfEntries(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := range n {
		err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("srv/%08d", i), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR})
		if err != nil {
			t.Fatal(err)
		}
	}
	if w.Flush() != nil || z.Close() != nil {
		t.Fatal("a buffer is full")
	}
	return b.Bytes()
}
