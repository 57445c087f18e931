package worker

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TestGuard holds that a reader which breaks fails its layer and not the worker.
func TestGuard(t *testing.T) {
	w := &Worker{log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	err := w.guard(digest.SHA256(nil), func() error {
		var none []int
		_ = none[len(none)]
		return nil
	})
	if fault.KindOf(err) != fault.Corrupt || fault.Retryable(err) {
		t.Errorf("%v is %v", err, fault.KindOf(err))
	}
	want := errors.New("made up")
	if err := w.guard(digest.SHA256(nil), func() error { return want }); !errors.Is(err, want) {
		t.Errorf("an error becomes %v", err)
	}
}

func TestJoined(t *testing.T) {
	layer := digest.SHA256(nil)
	missing := fault.Newf(fault.NotFound, "get", "a", "404")
	later := fault.Newf(fault.RateLimited, "get", "b", "429")
	later.After = time.Hour
	for _, c := range []struct {
		failed []error
		kind   fault.Kind
		after  time.Duration
	}{
		{nil, fault.NotFound, 0},
		{[]error{missing}, fault.NotFound, 0},
		{[]error{missing, missing}, fault.NotFound, 0},
		{[]error{later, missing}, fault.RateLimited, time.Hour},
		{[]error{missing, later}, fault.RateLimited, time.Hour},
	} {
		err := joined(layer, c.failed)
		if fault.KindOf(err) != c.kind || fault.AfterOf(err) != c.after {
			t.Errorf("%v: %v after %s, want %v after %s", c.failed, fault.KindOf(err), fault.AfterOf(err), c.kind, c.after)
		}
	}
}
