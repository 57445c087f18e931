package coordinator_test

import (
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// TestWatch holds that a reference under watch is scanned when it is seen first, and again when it moved, without
// anybody asking.
func TestWatch(t *testing.T) {
	s := newSystem(t)
	a, _ := s.coordinator("a"), s.worker("w")
	ctx := t.Context()
	name := s.registry.Push(t, "watched", "latest", clustertest.Debian("zlib1g 1"))
	if err := a.Store.PutWatch(ctx, store.Watch{Reference: name, Every: time.Second}); err != nil {
		t.Fatal(err)
	}
	var before digest.Digest
	scanned := func() bool {
		images, now, err := a.Store.ImagesOf(ctx, name)
		if err != nil || now == before || len(images) != 1 || images[0].Pending > 0 {
			return false
		}
		before = now
		return true
	}
	clustertest.Eventually(t, "it was scanned", scanned)
	s.registry.Push(t, "watched", "latest", clustertest.Debian("zlib1g 2"))
	clustertest.Eventually(t, "it was scanned again", scanned)

	// One that is not there says so, and does not keep the others from being looked at.
	if err := a.Store.PutWatch(ctx, store.Watch{Reference: s.registry.Host() + "/nothing:latest", Every: time.Second}); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the error is seen", func() bool {
		list, err := a.Store.Watches(ctx, "", 10)
		return err == nil && len(list) == 2 && list[0].Error != "" && list[0].Checked.IsZero() && list[1].Error == ""
	})
}
