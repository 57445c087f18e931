package oci

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/pkg/limits"
)

// archives remembers the archives opened last, so that the layers of one do not each cost a look
// through all of it.
type archives struct {
	mu     sync.Mutex
	byName map[Target]*archiveSlot
}

// maxArchives bounds how many are remembered. The index of one takes a few kilobytes, of a
// large one megabytes.
const maxArchives = 8

// archiveSlot is one archive. Whoever holds its turn opens it.
type archiveSlot struct {
	turn    chan struct{} // holds one item while nobody is at it
	used    time.Time
	archive *Archive
	info    os.FileInfo
}

func newArchives() *archives { return &archives{byName: map[Target]*archiveSlot{}} }

func (s *archives) slot(t Target) *archiveSlot {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.byName[t]
	if slot == nil {
		if len(s.byName) >= maxArchives {
			s.evict()
		}
		slot = &archiveSlot{turn: make(chan struct{}, 1)}
		slot.turn <- struct{}{}
		s.byName[t] = slot
	}
	slot.used = time.Now()
	return slot
}

// evict forgets the archive that was not used for longest.
func (s *archives) evict() {
	var oldest Target
	var used time.Time
	for t, slot := range s.byName {
		if used.IsZero() || slot.used.Before(used) {
			oldest, used = t, slot.used
		}
	}
	delete(s.byName, oldest)
}

// open returns the archive of a target, opened now or before if the file is still the same. A
// directory is opened anew each time, which costs the reading of its index.
func (s *archives) open(ctx context.Context, t Target, l limits.Limits) (*Archive, error) {
	if t.Scheme == OCIDir {
		return OpenArchive(ctx, t, l)
	}
	info, err := os.Stat(t.Ref)
	if err != nil {
		return nil, fileError(t.Ref, err)
	}
	slot := s.slot(t)
	select {
	case <-slot.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { slot.turn <- struct{}{} }()
	if slot.archive != nil && os.SameFile(info, slot.info) && info.Size() == slot.info.Size() && info.ModTime().Equal(slot.info.ModTime()) {
		return slot.archive, nil
	}
	a, err := OpenArchive(ctx, t, l)
	if err != nil {
		return nil, err
	}
	slot.archive, slot.info = a, info
	return a, nil
}
