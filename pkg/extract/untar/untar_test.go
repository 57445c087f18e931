package untar

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// listed is an entry as both readers should give it.
type listed struct {
	Name, Target string
	Type         Type
	Content      string // its beginning
	Length       int64
}

const contentBytes = 1 << 16 // of each content that is compared

// walk lists the archive with a Walker. The content of every second file is not read, but by with it is.
func walk(archive []byte, everything bool) (entries []listed, err error) {
	w := NewWalker(bufio.NewReaderSize(bytes.NewReader(archive), 1<<10))
	for n := 0; ; n++ {
		e, err := w.Next()
		if err != nil {
			return entries, err
		}
		l := listed{Name: string(e.Name), Target: string(e.Target), Type: e.Type}
		if e.Type == File && (everything || n%2 == 0) {
			r, err := w.Open()
			if err != nil {
				return entries, err
			}
			if l.Content, l.Length, err = begin(r); err != nil {
				return entries, err
			}
		}
		entries = append(entries, l)
	}
}

// walkStandard lists the archive with archive/tar.
func walkStandard(archive []byte) (entries []listed, err error) {
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err != nil {
			return entries, err
		}
		l := listed{Name: h.Name, Target: h.Linkname, Type: Type(h.Typeflag)}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeGNUSparse:
			l.Type = File
			fallthrough
		case tar.TypeReg:
			if l.Content, l.Length, err = begin(r); err != nil {
				return entries, err
			}
		}
		entries = append(entries, l)
	}
}

// begin reads the beginning of a content, as far as a hole without end lets it.
func begin(r io.Reader) (string, int64, error) {
	b, err := io.ReadAll(io.LimitReader(r, contentBytes))
	return string(b), int64(len(b)), err
}

func TestAgainstStandard(t *testing.T) {
	for name, archive := range archives(t) {
		t.Run(name, func(t *testing.T) {
			want, wantErr := walkStandard(archive)
			got, gotErr := walk(archive, true)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("archive/tar (-), we (+):\n%s", diff)
			}
			if wantErr != io.EOF || gotErr != io.EOF {
				t.Errorf("ended with %v, archive/tar with %v", gotErr, wantErr)
			}
			if len(got) == 0 {
				t.Error("no entries")
			}
		})
	}
}

// archives returns archives in all formats, by Go's writer and by GNU tar.
func archives(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, f := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		all["go "+f.String()] = goArchive(t, f)
	}
	program, err := exec.LookPath("tar")
	if err != nil {
		t.Log("no tar: only archives by Go's writer")
		return all
	}
	root := tree(t)
	for _, format := range []string{
		"--format=v7", "--format=ustar", "--format=posix", "--format=gnu", "--format=oldgnu",
		"-S --format=gnu", "-S --format=posix --sparse-version=0.0", "-S --format=posix --sparse-version=0.1",
		"-S --format=posix --sparse-version=1.0", "--format=posix --xattrs",
	} {
		args := append(strings.Fields(format), "-cf", "-", "-C", root, ".")
		out, err := exec.Command(program, args...).Output()
		if err != nil && !strings.Contains(format, "v7") && !strings.Contains(format, "ustar") { // these leave out what they cannot name
			t.Fatalf("tar %s: %v", format, err)
		}
		all["tar "+format] = out
	}
	return all
}

// tree makes a directory of files that are hard to archive.
func tree(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/os-release", "ID=debian\n")
	write("empty", "")
	write("block", strings.Repeat("x", blockBytes))
	write("päth with späces", "y")
	write(strings.Repeat("d/", 60)+strings.Repeat("n", 90), "a long name")
	write(strings.Repeat("long-directory-name/", 12)+strings.Repeat("l", 120), "a longer one")
	sparse, err := os.Create(filepath.Join(root, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(100) { // so many that the old format needs further blocks
		if _, err := fmt.Fprintf(io.NewOffsetWriter(sparse, i*64<<10), "data %d", i); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(
		sparse.Truncate(100*64<<10), sparse.Close(),
		os.Symlink("../usr/lib/os-release", filepath.Join(root, "etc/link")),
		os.Symlink(strings.Repeat("far/", 50)+"away", filepath.Join(root, "long-link")),
		os.Link(filepath.Join(root, "block"), filepath.Join(root, "hard")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func goArchive(t testing.TB, format tar.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	long := strings.Repeat("p/", 60) + "name" // fits into ustar by its prefix
	for _, h := range []tar.Header{
		{Name: "etc/", Typeflag: tar.TypeDir},
		{Name: "etc/os-release", Typeflag: tar.TypeReg, Size: 10},
		{Name: long, Typeflag: tar.TypeReg, Size: 700},
		{Name: "link", Linkname: "etc/os-release", Typeflag: tar.TypeSymlink},
		{Name: "hard", Linkname: "etc/os-release", Typeflag: tar.TypeLink},
		{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "pipe", Typeflag: tar.TypeFifo},
	} {
		h.Format, h.Mode = format, 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{'c'}, int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSkippedContentDoesNotMatter(t *testing.T) {
	archive := goArchive(t, tar.FormatPAX)
	all, _ := walk(archive, true)
	some, err := walk(archive, false)
	if err != io.EOF || len(some) != len(all) {
		t.Fatalf("%d entries, then %v; want %d", len(some), err, len(all))
	}
	for i := range all {
		if some[i].Name != all[i].Name || some[i].Type != all[i].Type {
			t.Errorf("entry %d: %+v, want %+v", i, some[i], all[i])
		}
	}
}

func TestErrors(t *testing.T) {
	archive := goArchive(t, tar.FormatUSTAR)
	corrupt := bytes.Clone(archive)
	corrupt[512+20] ^= 1 // in the second header
	negative := bytes.Clone(archive[:512])
	copy(negative[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	resum(negative)
	for _, c := range []struct {
		name    string
		archive []byte
		err     error
		kind    fault.Kind
		text    string
	}{
		{"nothing is an empty archive", nil, io.EOF, fault.Unknown, "EOF"},
		{"no end is an end", archive[:512], io.EOF, fault.Unknown, "EOF"},
		{"one block of zeros", make([]byte, 512), io.EOF, fault.Unknown, "EOF"},
		{"text", []byte(strings.Repeat("{}", 500)), ErrHeader, fault.Unsupported, "not a tar archive"},
		{"short text", []byte("{}"), ErrTruncated, fault.Corrupt, "tar at byte 0: unexpected end of archive"},
		{"a broken checksum", corrupt, ErrHeader, fault.Corrupt, "tar at byte 512: invalid header"},
		{"a negative size", negative, ErrHeader, fault.Unsupported, "not a tar archive"},
		{"cut in a header", archive[:700], ErrTruncated, fault.Corrupt, "tar at byte 512: unexpected end of archive"},
		{"cut in a content", archive[:1600+512], ErrTruncated, fault.Corrupt, "tar at byte 2112: unexpected end of archive"},
		{"zeros, then something", append(make([]byte, 512), archive...), ErrHeader, fault.Corrupt, "tar at byte 512: invalid header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := walk(c.archive, false)
			if !errors.Is(err, c.err) || fault.KindOf(err) != c.kind || err.Error() != c.text {
				t.Errorf("got %v of kind %v, want %q of kind %v", err, fault.KindOf(err), c.text, c.kind)
			}
		})
	}
}

// TestSourceErrors holds that an error of the source comes out as it is.
func TestSourceErrors(t *testing.T) {
	broken := errors.New("connection reset")
	archive := goArchive(t, tar.FormatUSTAR)
	for n := 0; n < len(archive)-1024; n += 100 {
		w := NewWalker(bufio.NewReader(io.MultiReader(bytes.NewReader(archive[:n]), iotest.ErrReader(broken))))
		var err error
		for err == nil {
			_, err = w.Next()
		}
		if err != broken {
			t.Fatalf("broken off at byte %d: got %v", n, err)
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

// FuzzWalk holds the Walker to archive/tar: where that reads an archive to its end, so do we, and alike. Headers
// get their checksum, for hardly a change would survive it.
func FuzzWalk(f *testing.F) {
	for _, archive := range archives(f) {
		f.Add(archive[:min(len(archive), 16<<10)])
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		for i := 0; i+512 <= len(archive); i += 512 {
			if magic := archive[i+257 : i+262]; string(magic) == "ustar" {
				resum(archive[i:])
			}
		}
		got, gotErr := walk(archive, true)
		want, wantErr := walkStandard(archive)
		if wantErr != io.EOF {
			return
		}
		if gotErr != io.EOF {
			t.Fatalf("%v, but archive/tar reads it", gotErr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("archive/tar (-), we (+):\n%s", diff)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for i := range 10_000 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/share/doc/package/file-%05d", i), Typeflag: tar.TypeReg, Size: 1000}); err != nil {
			b.Fatal(err)
		}
		w.Write(make([]byte, 1000))
	}
	w.Close()
	b.SetBytes(int64(buffer.Len()))
	b.Run("walker", func(b *testing.B) {
		for b.Loop() {
			w := NewWalker(bufio.NewReaderSize(bytes.NewReader(buffer.Bytes()), 512<<10))
			for {
				if _, err := w.Next(); err != nil {
					break
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/entry")
	})
	b.Run("standard", func(b *testing.B) {
		for b.Loop() {
			r := tar.NewReader(bytes.NewReader(buffer.Bytes()))
			for {
				if _, err := r.Next(); err != nil {
					break
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/entry")
	})
}
