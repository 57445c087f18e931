package unzstd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// compress runs zstd.
func compress(t testing.TB, content []byte, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("SKIPPED, no zstd to make streams with:", err)
	}
	cmd := exec.Command(program, append([]string{"-c", "-q"}, args...)...)
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("zstd %v: %v", args, err)
	}
	return out
}

// content is partly random and partly not, so that there are all kinds of blocks.
func content(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n)
	for len(b) < n {
		switch r.IntN(3) {
		case 0:
			b = append(b, strings.Repeat("package ", r.IntN(1000))...)
		case 1:
			b = append(b, make([]byte, r.IntN(300_000))...)
		default:
			for range r.IntN(200_000) {
				b = append(b, byte(r.Uint32()))
			}
		}
	}
	return b[:n]
}

func anyWindow(int64) error { return nil }

func open(r io.Reader, demand func(int64) error) *Reader {
	z := NewReader()
	z.Reset(r, demand)
	return z
}

func TestRead(t *testing.T) {
	want := content(1 << 20)
	for _, args := range []string{
		"", "-1", "-19", "--fast=5", "--no-check", "--check", "--ultra -22 --long=24", "--stream-size=1048576", "-T2 -B65536",
	} {
		t.Run(args, func(t *testing.T) {
			stream := compress(t, want, strings.Fields(args)...)
			for name, r := range map[string]io.Reader{"as it is": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
				z := open(r, anyWindow)
				got, err := io.ReadAll(z)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
		})
	}
}

// skippable is a frame with something else.
func skippable(content string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x184d2a5e)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(content))), content...)
}

// segment is the header of a frame whose window is its content, of so many bytes, and a block that is not there.
func segment(size uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte("\x28\xb5\x2f\xfd\xe0"), size)
}

func TestSequence(t *testing.T) {
	frame, empty := compress(t, []byte("content"), "--check"), compress(t, nil)
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
		err    error
	}{
		{"nothing inside", empty, "", nil},
		{"two frames", join(frame, frame), "contentcontent", nil},
		{"something else before, between and behind", join(skippable("abc"), frame, skippable(""), skippable("frame"), frame, skippable("x")), "contentcontent", nil},
		{"something else only", skippable("abc"), "", nil},
		{"something else cut off", join(frame, skippable("abc"))[:len(frame)+9], "content", io.ErrUnexpectedEOF},
		{"nothing", nil, "", nil},
		{"half a magic", frame[:2], "", io.ErrUnexpectedEOF},
		{"half a header", segment(1000)[:8], "", io.ErrUnexpectedEOF},
		{"no block", segment(1000), "", io.ErrUnexpectedEOF},
		{"no checksum", frame[:len(frame)-1], "content", io.ErrUnexpectedEOF},
		{"another checksum", append(bytes.Clone(frame[:len(frame)-1]), frame[len(frame)-1]+1), "content", zstd.ErrCRCMismatch},
		{"garbage behind", join(frame, []byte("garbage")), "content", zstd.ErrMagicMismatch},
		{"a dictionary that nobody has", []byte("\x28\xb5\x2f\xfd\x21\x07\x01\x01\x00\x00"), "", zstd.ErrUnknownDictionary},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := io.ReadAll(open(bytes.NewReader(c.stream), anyWindow))
			if !strings.HasPrefix(c.want, string(got)) || err == nil && string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

// TestDemand tells which windows are asked for: each larger one, before it is made.
func TestDemand(t *testing.T) {
	frame := func(windowLog string) []byte { return compress(t, content(1<<20), "--zstd=wlog="+windowLog) }
	small := compress(t, []byte("content"), "--stream-size=7")
	for _, c := range []struct {
		name   string
		stream []byte
		want   []int64
	}{
		{"one", frame("19"), []int64{512 << 10}},
		{"larger ones", slices.Concat(small, frame("14"), frame("19")), []int64{1 << 10, 16 << 10, 512 << 10}},
		{"smaller ones", slices.Concat(frame("19"), skippable("x"), frame("14"), small), []int64{512 << 10}},
		{"a segment", compress(t, content(100_000), "--stream-size=100000"), []int64{100_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int64
			z := NewReader()
			z.Reset(bytes.NewReader(c.stream), func(windowBytes int64) error {
				if z.decoder != nil {
					t.Error("the window before is still there")
				}
				got = append(got, windowBytes)
				return nil
			})
			if _, err := io.Copy(io.Discard, z); err != nil {
				t.Error(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("asked for %d, want %d", got, c.want)
			}
		})
	}
	denied := errors.New("denied")
	for _, size := range []uint64{1 << 20, 1 << 40, 1<<64 - 1} {
		z := open(bytes.NewReader(segment(size)), func(windowBytes int64) error {
			if windowBytes < 1<<20 {
				t.Errorf("%d bytes: asked for %d", size, windowBytes)
			}
			return denied
		})
		if _, err := z.Read(make([]byte, 10)); err != denied {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestDamage changes and cuts a stream everywhere: never is a wrong content taken for a right one.
func TestDamage(t *testing.T) {
	want := content(600)
	stream := slices.Concat(compress(t, want, "--check"), compress(t, want, "--check"))
	want = append(want, want...)
	read := func(stream []byte) ([]byte, error) {
		return io.ReadAll(io.LimitReader(open(bytes.NewReader(stream), anyWindow), 1<<20))
	}
	for i := range stream {
		if got, err := read(changed(stream, i)); err == nil && !bytes.Equal(got, want) {
			t.Errorf("byte %d changed: another content and no error", i)
		}
		if _, err := read(stream[:i]); err != io.ErrUnexpectedEOF && i != 0 && i != len(stream)/2 {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestSourceError(t *testing.T) {
	stream := compress(t, content(100_000))
	broken := errors.New("connection reset")
	for _, cut := range []int{0, 3, 10, 5000} {
		z := open(io.MultiReader(bytes.NewReader(stream[:cut]), iotest.ErrReader(broken)), anyWindow)
		if _, err := io.ReadAll(z); err != broken {
			t.Errorf("after %d bytes: %v", cut, err)
		}
	}
}

// TestReset reads streams one after the other, some of which it leaves half way or broken.
func TestReset(t *testing.T) {
	want := content(1 << 20)
	large, small := compress(t, want, "--zstd=wlog=19"), compress(t, want[:100_000], "--zstd=wlog=14")
	z := NewReader()
	if n, err := z.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("without a stream: %d, %v", n, err)
	}
	for _, c := range []struct {
		name   string
		stream []byte
		read   int // bytes of it
		fails  bool
		want   int64
	}{
		{"nothing", nil, 1, true, 0},
		{"a small window", small, 100_000, false, 16 << 10},
		{"a large one", large, 1 << 20, false, 512 << 10},
		{"a small one, in the large", small, 50_000, false, 512 << 10},
		{"a broken one", changed(large, len(large)/2), 1 << 20, true, 512 << 10},
		{"a good one", large, 1 << 20, false, 512 << 10},
	} {
		var asked int64
		z.Reset(bytes.NewReader(c.stream), func(windowBytes int64) error {
			asked = windowBytes
			return nil
		})
		got := make([]byte, c.read)
		n, err := io.ReadFull(z, got)
		if (err != nil) != c.fails || err == nil && !bytes.Equal(got, want[:n]) || asked != c.want {
			t.Errorf("%s: %d bytes, %v, asked for %d", c.name, n, err, asked)
		}
		z.Detach(512 << 10)
		if n, err := z.Read(got); n != 0 || err != io.EOF || z.window != c.want {
			t.Errorf("%s: detached, it reads %d bytes, %v, and has a window of %d bytes", c.name, n, err, z.window)
		}
	}
	z.Detach(512<<10 - 1)
	if z.decoder != nil || z.window != 0 {
		t.Errorf("it keeps %d bytes", z.window)
	}
}

// changed returns b with one byte changed.
func changed(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x10
	return b
}

// FuzzRead holds the reader to what the library makes of the whole stream, and is good for another one afterwards.
func FuzzRead(f *testing.F) {
	f.Add(compress(f, content(1000)))
	f.Add(slices.Concat(skippable("abc"), compress(f, nil), compress(f, []byte("content"), "--check", "--stream-size=7")))
	f.Add(segment(1 << 40))
	good := compress(f, content(100_000), "--check")
	f.Fuzz(func(t *testing.T, stream []byte) {
		const most = 1 << 20
		z := open(bytes.NewReader(stream), func(windowBytes int64) error {
			if windowBytes > most {
				return zstd.ErrWindowSizeExceeded
			}
			return nil
		})
		got, err := io.ReadAll(io.LimitReader(z, 10<<20))
		d, e := zstd.NewReader(bytes.NewReader(stream), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(most))
		if e != nil {
			t.Fatal(e)
		}
		defer d.Close()
		want, e := io.ReadAll(io.LimitReader(d, 10<<20))
		if (err == nil) != (e == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v; the library gives %d, %v", len(got), err, len(want), e)
		}
		z.Reset(bytes.NewReader(good), anyWindow)
		if again, err := io.ReadAll(z); err != nil || !bytes.Equal(again, content(100_000)) {
			t.Errorf("used again: %d bytes, %v", len(again), err)
		}
	})
}
