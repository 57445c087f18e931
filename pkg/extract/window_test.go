package extract

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// waiting starts to take, and returns where the error will be.
func waiting(s *share, bytes int64) <-chan error {
	taken := make(chan error, 1)
	go func() { taken <- s.take(bytes) }()
	synctest.Wait()
	return taken
}

func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w windows
		fresh := func() *share { return w.share(t.Context(), 10) }
		a, b, all, small := fresh(), fresh(), fresh(), fresh()
		for _, s := range []struct {
			*share
			bytes int64
		}{{a, 6}, {a, 4}, {b, 4}} {
			if err := s.take(s.bytes); err != nil {
				t.Fatal(err)
			}
		}
		takesAll, takesSmall := waiting(all, 1000), waiting(small, 1) // who comes later does not go first
		if len(takesAll)+len(takesSmall) != 0 {
			t.Error("more is taken than there is")
		}
		growing := waiting(b, 5) // and so does who has something already
		a.release()
		synctest.Wait()
		if len(takesAll) != 1 || len(takesSmall)+len(growing) != 0 || all.held != 10 {
			t.Errorf("one that wants all has %d", all.held)
		}
		all.release()
		synctest.Wait()
		if len(takesSmall) != 1 || len(growing) != 1 || b.held != 5 {
			t.Error("the others still wait")
		}
		b.release()
		b.release()
		small.release()
		if err := fresh().take(10); err != nil {
			t.Error(err)
		}
	})
}

// TestWindowWait is about a layer that waits for a window when its context ends.
func TestWindowWait(t *testing.T) {
	archive := debian(t)
	for name, layer := range map[string][]byte{"zstd": zstandard(t, archive), "xz": compressedWith(t, "xz", archive)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var x Extractor
				other := x.windows.share(t.Context(), 0)
				if err := other.take(defaultWindowBytes); err != nil {
					t.Fatal(err)
				}
				why := fault.New(fault.Unavailable, "drain", "", errors.New("the worker leaves"))
				ctx, cancel := context.WithCancelCause(t.Context())
				failed := make(chan error)
				go func() {
					_, _, err := x.Layer(ctx, opener(layer), Blob{})
					failed <- err
				}()
				synctest.Wait()
				cancel(why)
				if err := <-failed; !errors.Is(err, why) || fault.KindOf(err) != fault.Unavailable {
					t.Errorf("got %v", err)
				}
				other.release()
				if _, _, err := x.Layer(t.Context(), opener(layer), Blob{}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestManyWindows analyzes more layers at once than there is room for the windows of.
func TestManyWindows(t *testing.T) {
	archive := debian(t)
	layers := [][]byte{
		zstandard(t, archive), compressedWith(t, "xz", archive), streamed(t, archive[:5000], archive[5000:]),
		streamed(t, archive), gzipped(t, archive),
	}
	for _, most := range []int64{1, 20 << 20, 0} {
		x := Extractor{WindowBytes: most}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				layer, _, err := x.Layer(t.Context(), opener(layers[i%len(layers)]), Blob{})
				if err != nil || len(layer.Databases) != 1 {
					t.Errorf("layer %d: %+v, %v", i, layer, err)
				}
			})
		}
		wg.Wait()
		if !x.windows.free.TryAcquire(x.windows.most) {
			t.Errorf("of %d bytes some are missing", x.windows.most)
		}
	}
}

// streamed is zstd of parts whose size nobody knows beforehand, as builders write it: with a large window.
func streamed(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, part := range parts {
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(w, bytes.NewReader(part[:len(part)/2]))
		w.Flush()
		w.Write(part[len(part)/2:])
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestLargestWindow(t *testing.T) {
	archive := debian(t)
	dictionary := compressedWith(t, "xz", archive)
	// A block header of 12 bytes follows the stream header of as many: size, flags, filter, length, dictionary (xz-file-format 3.1).
	block := dictionary[12:24]
	block[4] = 31 // 192 MiB (5.3.1)
	binary.LittleEndian.PutUint32(block[8:], crc32.ChecksumIEEE(block[:8]))
	for name, layer := range map[string][]byte{
		"window":     []byte("\x28\xb5\x2f\xfd\x00\x8a\x01\x00\x00...."), // an exponent of 17: 160 MiB
		"segment":    binary.LittleEndian.AppendUint64([]byte("\x28\xb5\x2f\xfd\xe0"), 1<<40),
		"later":      append(zstandard(t, archive[:5000]), binary.LittleEndian.AppendUint64([]byte("\x28\xb5\x2f\xfd\xe0"), 1<<40)...),
		"dictionary": dictionary,
	} {
		t.Run(name, func(t *testing.T) {
			var x Extractor
			_, _, err := x.Layer(t.Context(), opener(layer), Blob{})
			wantLimit(t, err, "bytes", largestWindowBytes)
		})
	}
}
