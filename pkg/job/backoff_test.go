package job

import (
	"fmt"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestAgain(t *testing.T) {
	other := fault.Newf(fault.Corrupt, "get", "blob", "5 bytes, want 7: %w", digest.ErrOther)
	mismatch := fmt.Errorf("read: %w", &digest.MismatchError{})
	broken := fault.Newf(fault.Corrupt, "read", "layer", "no tar")
	away := fault.Newf(fault.Unavailable, "get", "blob", "503")
	later := fault.Newf(fault.RateLimited, "get", "blob", "429")
	for _, c := range []struct {
		err    error
		failed int
		local  bool
		again  bool
		park   time.Duration
	}{
		{other, 1, false, true, 5 * time.Second},
		{mismatch, 2, false, true, 5 * time.Second},
		{other, 3, false, false, 5 * time.Second},
		{mismatch, 1, true, false, 5 * time.Second},
		{broken, 1, false, false, 5 * time.Second},
		{away, 1, true, true, 5 * time.Second},
		{away, 2, false, true, 25 * time.Second},
		{away, MaxAttempts, false, false, 15 * time.Minute},
		{later, MaxAttempts + 7, false, true, 15 * time.Minute},
		{later, 1, false, true, 125 * time.Second},
	} {
		if got := Again(c.err, c.failed, c.local); got != c.again {
			t.Errorf("%v after %d failures, local %t: again %t", c.err, c.failed, c.local, got)
		}
		if got := Park(c.err, c.failed-1, nil); got != c.park {
			t.Errorf("%v after %d failures: parked for %s, want %s", c.err, c.failed, got, c.park)
		}
	}
}
