package gunzip

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// compressed returns content as one gzip member.
func compressed(t testing.TB, level int, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// sample is content of all kinds: text, repetition, noise.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 0, n)
	for len(b) < n {
		switch r.IntN(3) {
		case 0:
			b = fmt.Appendf(b, "/usr/share/doc/package-%d/copyright\n", r.IntN(1000))
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(2000))...)
		default:
			for range r.IntN(300) {
				b = append(b, byte(r.Uint32()))
			}
		}
	}
	return b[:n]
}

// inflate reads a stream with reads of the given size.
func inflate(stream io.Reader, size int) ([]byte, *Reader, error) {
	z := NewReader()
	defer z.Close()
	z.Reset(stream)
	var content []byte
	p := make([]byte, size)
	for {
		n, err := z.Read(p)
		content = append(content, p[:n]...)
		if err == io.EOF {
			return content, z, nil
		}
		if err != nil {
			return content, z, err
		}
	}
}

func TestRead(t *testing.T) {
	contents := map[string][]byte{
		"nothing": nil, "a byte": {'x'}, "mixed": sample(1 << 20), "zeros": make([]byte, 3<<20), "noise and text": sample(70_000),
	}
	for name, content := range contents {
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
				got, _, err := inflate(bytes.NewReader(compressed(t, level, content)), size)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s, level %d, reads of %d: %d bytes, %v", name, level, size, len(got), err)
				}
			}
		}
	}
}

// TestTool reads what gzip(1) writes, and byte by byte.
func TestTool(t *testing.T) {
	path, err := exec.LookPath("gzip")
	if err != nil {
		t.Skip("SKIPPED, no gzip to make streams with:", err)
	}
	content := sample(300_000)
	for _, level := range []string{"-1", "-6", "-9"} {
		cmd := exec.Command(path, "-c", level)
		cmd.Stdin = bytes.NewReader(content)
		stream, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := inflate(iotest.OneByteReader(bytes.NewReader(stream)), 100)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("gzip %s: %d bytes, %v", level, len(got), err)
		}
	}
}

// TestStreams is about what surrounds the deflate streams.
func TestStreams(t *testing.T) {
	member := compressed(t, 6, []byte("content"))
	other := compressed(t, 9, []byte(" and more"))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	changed := func(offset int, b ...byte) []byte {
		c := bytes.Clone(member)
		copy(c[(offset+len(c))%len(c):], b)
		return c
	}
	header := func(flags byte, fields string) []byte {
		return join([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255}, []byte(fields), member[10:])
	}
	for _, c := range []struct {
		name    string
		stream  []byte
		want    string
		err     error
		garbage int64
	}{
		{"one member", member, "content", nil, -1},
		{"two members", join(member, other), "content and more", nil, -1},
		{"an empty member between", join(member, compressed(t, 6, nil), other), "content and more", nil, -1},
		{"padding", join(member, make([]byte, 1000)), "content", nil, -1},
		{"garbage", join(member, []byte("garbage")), "content", nil, int64(len(member))},
		{"padding and garbage", join(member, make([]byte, 10), other), "content", nil, int64(len(member)) + 10},
		{"half a magic is garbage", join(member, []byte{0x1f}), "content", nil, int64(len(member))},
		{"another method is garbage", join(member, []byte{0x1f, 0x8b, 7}), "content", nil, int64(len(member))},
		{"a second member is cut", join(member, other[:5]), "content", ErrTruncated, -1},
		{"name and comment", header(flagName|flagComment, "layer.tar\x00of an image\x00"), "content", nil, -1},
		{"extra field", header(flagExtra, "\x04\x00abcd"), "content", nil, -1},
		{"header checksum", header(flagHeaderCRC, headerSum(header(flagHeaderCRC, "")[:10])), "content", nil, -1},
		{"wrong header checksum", header(flagHeaderCRC, "\x00\x00"), "", ErrHeader, -1},
		{"reserved flags", header(0x40, ""), "", ErrHeader, -1},
		{"a name without end", header(flagName, strings.Repeat("n", 200_000)), "", ErrHeader, -1},
		{"nothing", nil, "", ErrTruncated, -1},
		{"something else", []byte("PK\x03\x04 and so on"), "", ErrHeader, -1},
		{"zeros", make([]byte, 100), "", ErrHeader, -1},
		{"wrong checksum", changed(-8, 1, 2, 3, 4), "content", ErrChecksum, -1},
		{"wrong length", changed(-4, 8), "content", ErrLength, -1},
		{"wrong deflate block", changed(10, 0xff), "", ErrDeflate, -1},
	} {
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
			t.Run(c.name, func(t *testing.T) {
				got, z, err := inflate(wrap(bytes.NewReader(c.stream)), 100)
				if string(got) != c.want || !errors.Is(err, c.err) {
					t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
				}
				if err != nil && fault.KindOf(err) != fault.Corrupt {
					t.Errorf("kind %v of %v", fault.KindOf(err), err)
				}
				if offset, ok := z.Garbage(); offset != c.garbage || ok != (c.garbage >= 0) {
					t.Errorf("garbage at %d, %t, want %d", offset, ok, c.garbage)
				}
			})
		}
	}
}

// headerSum returns the checksum of a member header: the lower half of its CRC-32.
func headerSum(b []byte) string {
	return string(binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(b))))
}

func TestTruncated(t *testing.T) {
	stream := compressed(t, 6, sample(50_000))
	for n := 1; n < len(stream); n += 1 + n/50 {
		_, _, err := inflate(bytes.NewReader(stream[:n]), 1<<10)
		var e *Error
		if !errors.As(err, &e) || e.Err != ErrTruncated || e.Offset > int64(n) || e.Offset < int64(n)-keepSlack {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(stream), err)
		}
	}
	_, _, err := inflate(bytes.NewReader(stream[:1000]), 1<<10)
	if want := "gzip at byte "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want the place: %q", err, want)
	}
}

// keepSlack is how far before the end a stream may be said to have ended.
const keepSlack = 8

// TestSourceError holds that an error of the source comes out as it is, even the one that elsewhere means a
// stream that is cut.
func TestSourceError(t *testing.T) {
	stream := compressed(t, 6, sample(50_000))
	for _, broken := range []error{errors.New("connection reset"), io.ErrUnexpectedEOF} {
		for n := 0; n < len(stream); n += 1 + n/10 {
			_, _, err := inflate(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken)), 1<<10)
			if err != broken { // it must be the very same
				t.Fatalf("broken off at byte %d: %v", n, err)
			}
		}
	}
}

// TestReset holds that a Reader forgets a stream that it did not read to its end.
func TestReset(t *testing.T) {
	z := NewReader()
	defer z.Close()
	if _, err := z.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("no stream: %v", err)
	}
	long := compressed(t, 6, sample(1<<20))
	for i := range 20 {
		z.Reset(bytes.NewReader(long))
		if _, err := z.Read(make([]byte, 1+i*999)); err != nil {
			t.Fatal(err)
		}
		z.Reset(bytes.NewReader(compressed(t, 6, []byte("content"))))
		if got, err := io.ReadAll(z); string(got) != "content" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	z.Close()
	if _, err := z.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("closed: %v", err)
	}
}

// FuzzRead holds the Reader to compress/gzip of the standard library: where that reads a stream, so do we.
func FuzzRead(f *testing.F) {
	f.Add(compressed(f, 6, []byte("content")))
	f.Add(append(compressed(f, 0, []byte("stored")), compressed(f, gzip.HuffmanOnly, []byte("two"))...))
	f.Add(append(compressed(f, 9, sample(2000)), 0, 0, 0))
	f.Add([]byte{0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 255, 1, 0, 'x', 'n', 0, 'c', 0, 1, 2, 3, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		const most = 1 << 20
		got, gotErr := readAll(func() (io.Reader, error) {
			z := NewReader()
			t.Cleanup(func() { z.Close() })
			z.Reset(bytes.NewReader(stream))
			return z, nil
		}, most)
		want, wantErr := readAll(func() (io.Reader, error) { return gzip.NewReader(bufio.NewReader(bytes.NewReader(stream))) }, most)
		if wantErr == nil && len(stream) > 3 && stream[3]&flagReserved == 0 && (gotErr != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%d bytes, %v, but compress/gzip reads %d", len(got), gotErr, len(want))
		}
	})
}

func readAll(open func() (io.Reader, error), most int64) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, most))
}

func BenchmarkRead(b *testing.B) {
	content := sample(16 << 20)
	stream := compressed(b, 6, content)
	z := NewReader()
	defer z.Close()
	p := make([]byte, 512<<10)
	b.SetBytes(int64(len(content)))
	b.ReportMetric(float64(len(content))/float64(len(stream)), "ratio")
	for b.Loop() {
		z.Reset(bytes.NewReader(stream))
		for {
			if _, err := z.Read(p); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
