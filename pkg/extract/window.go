package extract

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/trawl-scanner/trawl/pkg/extract/unzstd"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

const (
	// largestWindowBytes bounds the window of one zstd or xz stream. The largest levels of both, "zstd --ultra -22"
	// and "xz -9", take 128 and 64 MiB.
	largestWindowBytes = 128 << 20

	defaultWindowBytes = 64 << 20 // see Extractor.WindowBytes

	// keptWindowBytes is the size up to which a window of zstd is used again, for builders give one of 8 MiB to the
	// smallest layer, and to make it takes longer than to read that.
	keptWindowBytes = 8 << 20
)

// windows is the memory for windows of all layers under way. The zero value is ready to use.
type windows struct {
	once sync.Once
	most int64
	free *semaphore.Weighted
	zstd sync.Pool // of *unzstd.Reader
}

// share is what one layer has of it.
type share struct {
	*windows
	ctx  context.Context
	held int64
}

// share returns a share that is empty, of most bytes or the default. It has to be released.
func (w *windows) share(ctx context.Context, most int64) *share {
	w.once.Do(func() {
		w.most = most
		if most <= 0 {
			w.most = defaultWindowBytes
		}
		w.free = semaphore.NewWeighted(w.most)
	})
	return &share{windows: w, ctx: ctx}
}

// borrow returns a reader that may have a window.
func (w *windows) borrow() *unzstd.Reader {
	if z, ok := w.zstd.Get().(*unzstd.Reader); ok {
		return z
	}
	return unzstd.NewReader()
}

// giveBack keeps a reader for other layers, until Go collects it.
func (w *windows) giveBack(z *unzstd.Reader) {
	z.Detach(keptWindowBytes)
	w.zstd.Put(z)
}

// window waits until there is room for the window of a zstd stream.
func (s *share) window(bytes int64) error {
	if err := limits.Check("window of the zstd stream", "bytes", largestWindowBytes, bytes); err != nil {
		return err
	}
	return s.take(bytes)
}

// dictionary waits until there is room for the dictionary of an xz stream. It counts twice: the decoder makes so much
// garbage that the heap grows to twice of what is alive, which is where Go collects it (GOGC).
func (s *share) dictionary(bytes int64) error {
	if err := limits.Check("dictionary of the xz stream", "bytes", largestWindowBytes, bytes); err != nil {
		return err
	}
	return s.take(2 * bytes)
}

// take makes the share at least that large, or all that there is. What it had is given back first, so that no two
// layers wait for one another: the window that it was for must be free.
func (s *share) take(bytes int64) error {
	bytes = min(bytes, s.most)
	if bytes <= s.held {
		return nil
	}
	s.release()
	if s.free.Acquire(s.ctx, bytes) != nil {
		return context.Cause(s.ctx)
	}
	s.held = bytes
	return nil
}

// release gives the share back. A large one is free only once Go has collected the window that it was for. It would
// wait with that until there is as much garbage as there is memory in use, and the next layer's window be made beside it.
func (s *share) release() {
	if s.held > 2*keptWindowBytes {
		runtime.GC()
	}
	s.free.Release(s.held)
	s.held = 0
}
