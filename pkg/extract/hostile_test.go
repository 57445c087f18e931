package extract

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// wantLimit checks that an error is of a limit.
func wantLimit(t *testing.T, err error, unit string, most int64) {
	t.Helper()
	var limit *limits.Error
	if !errors.As(err, &limit) || limit.Unit != unit || limit.Most != most || fault.KindOf(err) != fault.TooLarge {
		t.Errorf("got %v, want a limit of %d %s", err, most, unit)
	}
}

func TestLimits(t *testing.T) {
	archive := debian(t)
	gz := gzipped(t, archive)
	for _, c := range []struct {
		name  string
		layer []byte
		lim   limits.Limits
		unit  string
		most  int64
	}{
		{"compressed bytes", gz, limits.Limits{CompressedBytes: 100}, "bytes", 100},
		{"inflated bytes", gz, limits.Limits{InflatedBytes: 100_000}, "bytes", 100_000},
		{"inflated bytes of what is not compressed", archive, limits.Limits{InflatedBytes: 100_000}, "bytes", 100_000},
		{"entries", gz, limits.Limits{Entries: 2}, "entries", 2},
		{"packages", pack(t, file("var/lib/dpkg/status", status("a", "b", "c"))), limits.Limits{Packages: 3}, "packages", 3}, // the database counts too
		{"files of status.d", pack(t, file("var/lib/dpkg/status.d/a", ""), file("var/lib/dpkg/status.d/b", "")), limits.Limits{Packages: 1}, "packages", 1},
		{"whiteouts", pack(t, file("var/lib/dpkg/status.d/.wh.a", ""), file("var/lib/dpkg/status.d/.wh.b", "")), limits.Limits{Packages: 1}, "packages", 1},
		{"links", pack(t, symlink("var/lib/dpkg/status.d/a", "x"), symlink("var/lib/dpkg/status.d/b", "y")), limits.Limits{Packages: 3}, "packages", 3},
		{"names that climb", pack(t, file("../etc/os-release", ""), file("../../etc/os-release", "")), limits.Limits{Packages: 1}, "packages", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Layer(t.Context(), opener(c.layer), Blob{}, c.lim)
			wantLimit(t, err, c.unit, c.most)
		})
	}
}

// TestParsedFileLimit holds that a file too large to be parsed is a problem of that file alone.
func TestParsedFileLimit(t *testing.T) {
	archive := pack(t, file("etc/os-release", debianRelease), file("var/lib/dpkg/status", status("a", "b", "c")), file("var/lib/rpm/Packages", strings.Repeat("x", 200)))
	layer, _, err := Layer(t.Context(), opener(archive), Blob{}, limits.Limits{ParsedFileBytes: 100})
	want := []string{
		"release etc/os-release: debian", "removed var/lib/dpkg/status", "removed var/lib/rpm/Packages",
		"problem var/lib/dpkg/status: size of a file to be read: limit of 100 bytes reached (at least 156)",
		"problem var/lib/rpm/Packages: size of a file to be read: limit of 100 bytes reached (at least 200)",
	}
	if diff := cmp.Diff(want, printed(layer)); diff != "" || err != nil {
		t.Errorf("%v, want (-), got (+):\n%s", err, diff)
	}
	if layer.Problems[0].Fault() != fault.TooLarge || layer.Problems[0].Count != 0 {
		t.Errorf("problem %+v", layer.Problems[0])
	}
}

// TestSparseFile is about a file whose holes are longer than anything that may be read.
func TestSparseFile(t *testing.T) {
	records := record("GNU.sparse.major", "0") + record("GNU.sparse.minor", "1") + record("GNU.sparse.numblocks", "2") + record("GNU.sparse.name", "var/lib/dpkg/status") +
		record("GNU.sparse.size", fmt.Sprint(int64(1)<<50)) + record("GNU.sparse.map", fmt.Sprintf("0,0,%d,0", int64(1)<<50))
	archive := append(rawEntry("x", tar.TypeXHeader, records), rawEntry("y", tar.TypeReg, "")...)
	layer, _ := analyze(t, append(archive, make([]byte, 1024)...))
	if len(layer.Problems) != 1 || layer.Problems[0].Fault() != fault.TooLarge {
		t.Errorf("got %v", printed(layer))
	}
}

// record returns a PAX record.
func record(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// rawEntry returns an entry as it stands in an archive.
func rawEntry(name string, flag byte, content string) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[124:], fmt.Sprintf("%011o", len(content)))
	b[156] = flag
	copy(b[257:], "ustar\x0000")
	copy(b[148:], "        ")
	var sum int
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	b = append(b, content...)
	return append(b, make([]byte, -len(content)&511)...)
}

// repeated is a stream of the same bytes over and over, after others.
type repeated struct {
	first, again []byte
	rest         []byte
	times        int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.first != nil {
		r.rest, r.first = r.first, nil
	}
	for len(r.rest) == 0 {
		if r.times == 0 {
			return 0, io.EOF
		}
		r.times--
		r.rest = r.again
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// heapWhile returns how much the heap grew at most while f ran, as far as progress shows.
func heapWhile(f func(progress func(int64))) int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most, calls := int64(m.HeapAlloc), int64(0), 0
	f(func(int64) {
		if calls++; calls%50 == 0 {
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapAlloc)-before)
		}
	})
	return most
}

// TestManyEntries reads ten million entries, until the default limit says that it is enough.
func TestManyEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	var block []byte
	for i := range 1000 {
		block = append(block, rawEntry(fmt.Sprintf("usr/share/doc/package/file-%d", i), tar.TypeReg, "")...)
		if i%10 == 0 {
			block = append(block, rawEntry(fmt.Sprintf("usr/lib/link-%d", i), tar.TypeSymlink, "")...)
		}
	}
	most := heapWhile(func(progress func(int64)) {
		open := func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(&repeated{again: block, times: 10_000}), nil
		}
		_, stats, err := Layer(t.Context(), open, Blob{Progress: progress}, limits.Limits{})
		wantLimit(t, err, "entries", limits.Default().Entries)
		t.Logf("%d entries in %v", stats.Entries, stats.Duration)
	})
	if most > 32<<20 {
		t.Errorf("the heap grew by %d MiB", most>>20)
	}
}

// TestBomb reads a file of 100 GB of zeros, compressed a thousandfold.
func TestBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	huge := rawEntry("zeros", tar.TypeReg, "")
	copy(huge[124:], fmt.Sprintf("%012o", int64(100)<<30)[:12])
	resum(huge)
	zeros := gzipped(t, make([]byte, 16<<20))
	for _, c := range []struct {
		lim  limits.Limits
		unit string
		most int64
	}{
		{limits.Limits{}, "to 1", limits.Default().Ratio},
		{limits.Limits{Ratio: -1, InflatedBytes: 1 << 30}, "bytes", 1 << 30},
	} {
		most := heapWhile(func(progress func(int64)) {
			open := func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(&repeated{first: gzipped(t, huge), again: zeros, times: 6400}), nil
			}
			_, stats, err := Layer(t.Context(), open, Blob{Progress: progress}, c.lim)
			wantLimit(t, err, c.unit, c.most)
			t.Logf("stopped after %d MB in %v", stats.InflatedBytes/1e6, stats.Duration)
		})
		if most > 32<<20 {
			t.Errorf("the heap grew by %d MiB", most>>20)
		}
	}
}

func resum(block []byte) {
	copy(block[148:], "        ")
	var sum int
	for _, c := range block[:512] {
		sum += int(c)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// TestTemporaryFiles holds that nothing is left of them, and that their lack is not the layer's fault.
func TestTemporaryFiles(t *testing.T) {
	rocky := realdata.Path(t, "roots/rocky-9.2/var/lib/rpm/rpmdb.sqlite")
	content, err := os.ReadFile(rocky)
	if err != nil {
		t.Fatal(err)
	}
	archive := pack(t, file("var/lib/rpm/rpmdb.sqlite", string(content)))
	x := Extractor{TempDir: t.TempDir()}
	layer, _, err := x.Layer(t.Context(), opener(archive), Blob{})
	if err != nil || len(layer.Databases) != 1 || len(layer.Databases[0].Packages) != 141 {
		t.Errorf("got %d databases, %v", len(layer.Databases), err)
	}
	left, err := os.ReadDir(x.TempDir)
	if len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	x.TempDir = filepath.Join(x.TempDir, "none")
	layer, _, err = x.Layer(t.Context(), opener(archive), Blob{})
	if fault.KindOf(err) != fault.Unavailable || !layer.IsEmpty() {
		t.Errorf("no directory for them: %v", err)
	}
}

// FuzzLayer reads anything. What it makes of it can be stored, read back and squashed.
func FuzzLayer(f *testing.F) {
	archive := pack(f, dir("etc"), symlink("etc/os-release", "../usr/lib/os-release"), file("usr/lib/os-release", debianRelease), file("var/lib/dpkg/status", status("a", "b")),
		file("lib/apk/db/installed", installed("c")), file("var/lib/dpkg/.wh.status", ""), hardlink("usr/lib/apk/db/installed", "lib/apk/db/installed"),
		symlink("var/lib/rpm", "/opt/rpm"), file("opt/rpm/Packages", "x"), file("opt/.wh..wh..opq", ""), fifo("var/lib/dpkg/status.d/x"))
	f.Add(archive)
	f.Add(gzipped(f, archive))
	f.Add(zstandard(f, archive))
	f.Add(archive[:1500])
	lim := limits.Limits{InflatedBytes: 4 << 20, ParsedFileBytes: 1 << 20, Entries: 10_000}
	var x Extractor
	x.Limits = lim
	f.Fuzz(func(t *testing.T, layerBytes []byte) {
		for at := 0; at+512 <= len(layerBytes); at += 512 {
			if string(layerBytes[at+257:at+262]) == "ustar" {
				resum(layerBytes[at:])
			}
		}
		layer, _, err := x.Layer(t.Context(), opener(layerBytes), Blob{})
		if err != nil {
			if k := fault.KindOf(err); k != fault.Corrupt && k != fault.Unsupported && k != fault.TooLarge {
				t.Fatalf("%v of kind %v", err, k)
			}
			return
		}
		stored, err := layer.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := inventory.UnmarshalLayer(stored)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(printed(layer), printed(*back)); diff != "" {
			t.Fatalf("read back (+):\n%s", diff)
		}
		inventory.Squash([]*inventory.Layer{&layer, back})
	})
}
