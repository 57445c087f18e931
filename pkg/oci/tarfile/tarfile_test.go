package tarfile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// member of a tar file that a test makes.
type item struct {
	name, content, link string
	kind                byte
	pax                 map[string]string
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if i.kind == 0 {
			i.kind = tar.TypeReg
		}
		h := &tar.Header{Name: i.name, Linkname: i.link, Typeflag: i.kind, Mode: 0o644, Size: int64(len(i.content)), PAXRecords: i.pax}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var compressions = []Compression{None, Gzip, Zstd, Bzip2, XZ}

func compress(t testing.TB, b []byte, c Compression) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch c {
	case None:
		return b
	case Gzip:
		w = gzip.NewWriter(&out)
	case Zstd:
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	case XZ:
		x, err := xz.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = x
	case Bzip2:
		cmd := exec.Command("bzip2", "-c")
		cmd.Stdin = bytes.NewReader(b)
		packed, err := cmd.Output()
		if err != nil {
			t.Skip("the program bzip2 is needed to make a bzip2 file:", err)
		}
		return packed
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, f *File, name string) (string, error) {
	t.Helper()
	r, size, err := f.Open(context.Background(), name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != size {
		t.Errorf("%s: %d bytes, said to have %d", name, len(b), size)
	}
	return string(b), nil
}

func wantKind(t testing.TB, err error, want fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want || !strings.Contains(err.Error(), text) {
		t.Errorf("got kind %v of error %v, want %v and %q", fault.KindOf(err), err, want, text)
	}
}

var sample = []item{
	{name: "./a/"},
	{name: "./a/one", content: strings.Repeat("one ", 1000)},
	{name: "/b", content: `{"json":true}`},
	{name: "twice", content: "first"},
	{name: "empty"},
	{name: strings.Repeat("long/", 40) + "name", content: "long"},
	{name: "a/up", link: "../b", kind: tar.TypeSymlink},
	{name: "a/out", link: "../../../../b", kind: tar.TypeSymlink},
	{name: "a/abs", link: "/b", kind: tar.TypeSymlink},
	{name: "a/next", link: "up", kind: tar.TypeSymlink},
	{name: "hard", link: "./a/one", kind: tar.TypeLink},
	{name: "dangling", link: "none", kind: tar.TypeSymlink},
	{name: "ring", link: "gnir", kind: tar.TypeSymlink},
	{name: "gnir", link: "ring", kind: tar.TypeSymlink},
	{name: "device", kind: tar.TypeChar},
	{name: "packed", content: "\x1f\x8b\x08 and so on"},
	{name: "twice", content: "second"},
	{name: "replaced", content: "before"},
	{name: "replaced", kind: tar.TypeChar},
}

func TestFile(t *testing.T) {
	items := slices.Clone(sample)
	items[0].kind = tar.TypeDir
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			f, err := Index(t.Context(), write(t, compress(t, tarOf(t, items...), c)), limits.Default())
			if err != nil {
				t.Fatal(err)
			}
			if f.Compression() != c {
				t.Errorf("compression %q", f.Compression())
			}
			for name, want := range map[string]string{
				"a/one": strings.Repeat("one ", 1000), "b": `{"json":true}`, "twice": "second", "empty": "",
				strings.Repeat("long/", 40) + "name": "long",
				"a/up":                               `{"json":true}`, "a/out": `{"json":true}`, "a/abs": `{"json":true}`, "a/next": `{"json":true}`,
				"hard": strings.Repeat("one ", 1000),
			} {
				if got, err := read(t, f, name); err != nil || got != want {
					t.Errorf("%.20s: got %.20q, %v", name, got, err)
				}
				if !f.Has(name) {
					t.Errorf("%.20s is said not to be there", name)
				}
			}
			for name, text := range map[string]string{
				"none": "not in the archive", "a": "not in the archive", "device": "not in the archive", "replaced": "not in the archive", "": "not in the archive",
				"./b": "not in the archive", "dangling": "a link to none", "ring": "a link to",
			} {
				_, err := read(t, f, name)
				wantKind(t, err, fault.NotFound, text)
			}
			if size, inner, err := f.Stat("packed"); size != 13 || inner != Gzip || err != nil {
				t.Errorf("packed: %d, %q, %v", size, inner, err)
			}
			if n := len(f.members); n != 14 {
				t.Errorf("%d members", n)
			}
			r, _, err := f.Open(t.Context(), "a/one")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, ok := r.(io.Seeker); ok != (c == None) {
				t.Errorf("can seek: %t", ok)
			}
		})
	}
}

// Files whose content is not stored in one piece cannot be read where they stand.
func TestSparse(t *testing.T) {
	program, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar program, which makes the sparse file")
	}
	for _, format := range []string{"gnu", "posix"} {
		dir := t.TempDir()
		sparse, err := os.Create(filepath.Join(dir, "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sparse.WriteAt([]byte("end"), 1<<20); err != nil {
			t.Fatal(err)
		}
		sparse.Close()
		if err := os.WriteFile(filepath.Join(dir, "after"), []byte("after"), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "x.tar")
		if b, err := exec.Command(program, "-C", dir, "--format", format, "-S", "-cf", out, "sparse", "after").CombinedOutput(); err != nil {
			t.Skipf("tar: %v: %s", err, b)
		}
		f, err := Index(t.Context(), out, limits.Default())
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(out); err != nil || info.Size() > 1<<19 {
			t.Fatalf("the file is not sparse: %v, %v", info, err)
		}
		if f.Has("sparse") {
			t.Errorf("%s: the sparse file can be opened", format)
		}
		if got, err := read(t, f, "after"); err != nil || got != "after" {
			t.Errorf("%s: what follows it: %q, %v", format, got, err)
		}
	}
}

func TestChanged(t *testing.T) {
	path := write(t, tarOf(t, item{name: "a", content: "a"}))
	f, err := Index(t.Context(), path, limits.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err = read(t, f, "a")
	wantKind(t, err, fault.Conflict, "has changed")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = read(t, f, "a")
	wantKind(t, err, fault.NotFound, "no such file")
}

func TestTrouble(t *testing.T) {
	good := tarOf(t, item{name: "a", content: strings.Repeat("a", 100_000)})
	many := make([]item, MaxMembers+1)
	for i := range many {
		many[i] = item{name: fmt.Sprint(i)}
	}
	long := make([]item, 5000)
	for i := range long {
		long[i] = item{name: strings.Repeat("x/", 2000) + fmt.Sprint(i)}
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		limits     limits.Limits
		want       fault.Kind
		text       string
	}{
		{"not there", filepath.Join(t.TempDir(), "none"), limits.Limits{}, fault.NotFound, "no such file"},
		{"a directory", t.TempDir(), limits.Limits{}, fault.Unsupported, "not a regular file"},
		{"a pipe", pipe, limits.Limits{}, fault.Unsupported, "not a regular file"},
		{"no tar file", write(t, []byte("text")), limits.Limits{}, fault.Unsupported, "not a tar file"},
		{"no tar file, and long", write(t, bytes.Repeat([]byte("text"), 1000)), limits.Limits{}, fault.Unsupported, "not a tar file"},
		{"no tar file inside", write(t, compress(t, []byte("text"), Gzip)), limits.Limits{}, fault.Unsupported, "not a tar file"},
		{"cut off in a member", write(t, good[:50_000]), limits.Limits{}, fault.Corrupt, "ends early"},
		{"cut off in the gzip stream", write(t, compress(t, good, Gzip)[:100]), limits.Limits{}, fault.Corrupt, "ends early"},
		{"broken gzip", write(t, append([]byte{0x1f, 0x8b, 8}, bytes.Repeat([]byte{0xff}, 100)...)), limits.Limits{}, fault.Corrupt, ""},
		{"broken zstd", write(t, append([]byte{0x28, 0xb5, 0x2f, 0xfd}, bytes.Repeat([]byte{0xff}, 100)...)), limits.Limits{}, fault.Corrupt, ""},
		{"too large when inflated", write(t, compress(t, good, Zstd)), limits.Limits{InflatedBytes: 50_000}, fault.TooLarge, "limit of 50000 bytes"},
		{"too many members", write(t, tarOf(t, many...)), limits.Limits{}, fault.TooLarge, "limit of 100000 entries"},
		{"too long names", write(t, tarOf(t, long...)), limits.Limits{}, fault.TooLarge, "names in the archive"},
		{"xz that wants 4 GiB", write(t, xzHeader(40)), limits.Limits{}, fault.TooLarge, "memory"},
		{"xz that wants a reserved size", write(t, xzHeader(41)), limits.Limits{}, fault.Corrupt, "reserved"},
		{"zstd that wants 2 GiB", write(t, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0}), limits.Limits{}, fault.TooLarge, "memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Index(t.Context(), c.path, c.limits)
			wantKind(t, err, c.want, c.text)
			if c.want == fault.TooLarge && (strings.Contains(c.text, "entries") || strings.Contains(c.text, "names")) {
				return
			}
			err = Walk(t.Context(), c.path, c.limits, func(_ string, _ *tar.Header, r io.Reader) (bool, error) {
				_, err := io.Copy(io.Discard, r)
				if err != nil {
					err = corrupt(err) // as whoever reads content has to
				}
				return true, err
			})
			wantKind(t, err, c.want, c.text)
		})
	}
}

// xzHeader is the beginning of an xz file whose block wants a dictionary of that encoded size.
func xzHeader(dictionary byte) []byte {
	b := []byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46} // stream header, CRC64
	return append(b, 2, 0, 0x21, 1, dictionary, 0, 0, 0, 0, 0, 0, 0)
}

func TestWalk(t *testing.T) {
	path := write(t, compress(t, tarOf(t, sample[1:]...), Gzip))
	var names []string
	err := Walk(t.Context(), path, limits.Default(), func(name string, _ *tar.Header, _ io.Reader) (bool, error) {
		names = append(names, name)
		return len(names) < 3, nil
	})
	if err != nil || !slices.Equal(names, []string{"a/one", "b", "twice"}) {
		t.Errorf("got %q, %v", names, err)
	}
	stop := errors.New("stop")
	if err := Walk(t.Context(), path, limits.Default(), func(string, *tar.Header, io.Reader) (bool, error) { return true, stop }); err != stop {
		t.Errorf("got %v", err)
	}
	err = Walk(t.Context(), path, limits.Limits{Entries: 2}, func(string, *tar.Header, io.Reader) (bool, error) { return true, nil })
	wantKind(t, err, fault.TooLarge, "limit of 2 entries")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []string{path, write(t, tarOf(t, sample[1:]...))} {
		err = Walk(ctx, p, limits.Default(), func(string, *tar.Header, io.Reader) (bool, error) { return true, nil })
		wantKind(t, err, fault.Canceled, "")
		_, err = Index(ctx, p, limits.Default())
		wantKind(t, err, fault.Canceled, "")
	}
}

// Whatever is in it and however it is packed, each member reads back as it was written.
func TestFileProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := map[string]string{}
		var items []item
		for i := range rapid.IntRange(0, 20).Draw(rt, "members") {
			name := rapid.StringMatching(`[a-c]{1,2}(/[a-z.]{1,120}){0,2}`).Draw(rt, "name")
			name = clean(name)
			if name == "" {
				continue
			}
			content := rapid.SampledFrom([]string{"", "{", `["x"]`, strings.Repeat("z", 511), strings.Repeat("y", 1025)}).Draw(rt, "content") + fmt.Sprint(i)
			want[name] = content
			items = append(items, item{name: rapid.SampledFrom([]string{"", "./", "/"}).Draw(rt, "prefix") + name, content: content})
		}
		c := rapid.SampledFrom([]Compression{None, Gzip, Zstd, XZ}).Draw(rt, "compression")
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, compress(t, tarOf(t, items...), c), 0o600); err != nil {
			rt.Fatal(err)
		}
		f, err := Index(context.Background(), path, limits.Default())
		if err != nil {
			rt.Fatal(err)
		}
		if len(f.members) != len(want) {
			rt.Errorf("%d members of %d", len(f.members), len(want))
		}
		for name, content := range want {
			if got, err := read(t, f, name); err != nil || got != content {
				rt.Errorf("%s: %q, %v; want %q", name, got, err, content)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(tarOf(f, sample[1:]...))
	for _, c := range []Compression{Gzip, Zstd, XZ} {
		f.Add(compress(f, tarOf(f, sample[1:4]...), c))
	}
	f.Add(xzHeader(20))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := Index(t.Context(), path, limits.Limits{InflatedBytes: 4 << 20})
		if err != nil {
			if fault.KindOf(err) == fault.Unknown {
				t.Errorf("an error without kind: %v", err)
			}
			return
		}
		for name := range x.members {
			r, size, err := x.Open(t.Context(), name)
			if err != nil {
				if fault.KindOf(err) != fault.NotFound {
					t.Errorf("%q: %v", name, err)
				}
				continue
			}
			if n, err := io.Copy(io.Discard, r); err == nil && n != size {
				t.Errorf("%q: %d of %d bytes", name, n, size)
			}
			r.Close()
		}
	})
}
