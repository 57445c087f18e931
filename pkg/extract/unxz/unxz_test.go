package unxz

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// compress runs xz.
func compress(t testing.TB, content []byte, args ...string) []byte {
	t.Helper()
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("SKIPPED, no xz to make streams with:", err)
	}
	cmd := exec.Command(xz, append([]string{"-c"}, args...)...)
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz %v: %v", args, err)
	}
	return out
}

// content is partly random and partly not, so that there are all kinds of chunks.
func content(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n)
	for len(b) < n {
		if r.IntN(2) == 0 {
			b = append(b, strings.Repeat("package ", r.IntN(1000))...)
			continue
		}
		for range r.IntN(5000) {
			b = append(b, byte(r.Uint32()))
		}
	}
	return b[:n]
}

func TestRead(t *testing.T) {
	want := content(1 << 20)
	for _, args := range []string{
		"", "-0", "-6e", "--check=none", "--check=crc32", "--check=sha256", "--block-size=100000", "-T2 --block-size=65536",
		"--lzma2=dict=4KiB", "--block-list=1000,2000,0",
	} {
		t.Run(args, func(t *testing.T) {
			stream := compress(t, want, strings.Fields(args)...)
			got, err := io.ReadAll(NewReader(iotest.OneByteReader(bytes.NewReader(stream)), anyDict))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestSequence(t *testing.T) {
	stream, empty := compress(t, []byte("content")), compress(t, nil)
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
		err    error
	}{
		{"nothing inside", empty, "", nil},
		{"two streams", append(bytes.Clone(stream), stream...), "contentcontent", nil},
		{"padding", append(bytes.Clone(stream), make([]byte, 8)...), "content", nil},
		{"padding between", append(append(bytes.Clone(stream), make([]byte, 4)...), stream...), "contentcontent", nil},
		{"half a padding", append(bytes.Clone(stream), 0, 0), "content", io.ErrUnexpectedEOF},
		{"garbage behind", append(bytes.Clone(stream), "garbage garbage"...), "content", ErrFormat},
		{"padding before", append(make([]byte, 4), stream...), "", ErrFormat},
		{"nothing", nil, "", io.ErrUnexpectedEOF},
		{"a filter for machine code", compress(t, []byte("content"), "--x86", "--lzma2"), "", ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := io.ReadAll(NewReader(bytes.NewReader(c.stream), anyDict))
			if string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

// TestDamage changes and cuts a stream everywhere: never is a wrong content taken for a right one. That a chunk is
// shorter than it says is not noticed.
func TestDamage(t *testing.T) {
	want := content(600)
	stream := compress(t, want, "--block-size=200")
	for i := range stream {
		damaged := bytes.Clone(stream)
		damaged[i] ^= 0x10
		if got, err := io.ReadAll(NewReader(bytes.NewReader(damaged), anyDict)); err == nil && !bytes.Equal(got, want) {
			t.Errorf("byte %d changed: another content and no error", i)
		}
		if _, err := io.ReadAll(NewReader(bytes.NewReader(stream[:i]), anyDict)); err != io.ErrUnexpectedEOF {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

var errTooLarge = errors.New("too large")

// atMost grants dictionaries up to a size.
func atMost(most int64) func(int64) error {
	return func(dictBytes int64) error {
		if dictBytes > most {
			return errTooLarge
		}
		return nil
	}
}

func anyDict(int64) error { return nil }

// TestDemand tells which dictionaries are asked for: each larger one, and none larger than its block.
func TestDemand(t *testing.T) {
	if _, err := io.ReadAll(NewReader(bytes.NewReader(compress(t, content(1000), "--lzma2=dict=4MiB")), atMost(2<<20))); err != errTooLarge {
		t.Errorf("got %v", err)
	}
	for _, c := range []struct {
		name string
		args [][]string
		want []int64
	}{
		{"one", [][]string{{"--lzma2=dict=8KiB"}}, []int64{8 << 10}},
		{"a larger one", [][]string{{"--lzma2=dict=8KiB"}, {"--lzma2=dict=4MiB"}}, []int64{8 << 10, 4 << 20}},
		{"smaller ones", [][]string{{"--lzma2=dict=4MiB"}, {"--lzma2=dict=8KiB"}, {"--lzma2=dict=16KiB"}}, []int64{4 << 20}},
		{"blocks that tell their size", [][]string{{"-T2", "--block-size=65536", "--lzma2=dict=4MiB"}}, []int64{65536}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stream []byte
			for _, args := range c.args {
				stream = append(stream, compress(t, content(200_000), args...)...)
			}
			var got []int64
			demand := func(dictBytes int64) error {
				got = append(got, dictBytes)
				return nil
			}
			b, err := io.ReadAll(NewReader(bytes.NewReader(stream), demand))
			if err != nil || !bytes.Equal(b, bytes.Repeat(content(200_000), len(c.args))) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("asked for %d, want %d", got, c.want)
			}
		})
	}
}

func TestSourceError(t *testing.T) {
	stream := compress(t, content(1000))
	broken := errors.New("connection reset")
	_, err := io.ReadAll(NewReader(io.MultiReader(bytes.NewReader(stream[:500]), iotest.ErrReader(broken)), anyDict))
	if err != broken {
		t.Errorf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(compress(f, content(1000), "--block-size=300"))
	f.Add(compress(f, nil, "--check=sha256"))
	f.Add(compress(f, content(200), "--check=none"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		io.Copy(io.Discard, io.LimitReader(NewReader(bytes.NewReader(stream), atMost(1<<20)), 10<<20)) // any will do
	})
}
