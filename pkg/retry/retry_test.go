package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestDo(t *testing.T) {
	passing := fault.New(fault.Unavailable, "ask", "peer", errors.New("away"))
	lasting := fault.New(fault.Corrupt, "read", "blob", errors.New("garbage"))
	late := fault.New(fault.RateLimited, "ask", "registry", errors.New("slow down"))
	late.After = time.Hour
	for _, c := range []struct {
		name    string
		answers []error
		calls   int
		want    error
		atLeast time.Duration
	}{
		{"success at once", []error{nil}, 1, nil, 0},
		{"success after two failures", []error{passing, passing, nil}, 3, nil, 150 * time.Millisecond},
		{"a lasting error is not tried again", []error{passing, lasting, nil}, 2, lasting, 50 * time.Millisecond},
		{"the delay asked for is kept", []error{late, nil}, 2, nil, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started, calls := time.Now(), 0
				err := Do(t.Context(), nil, func() error {
					calls++
					return c.answers[calls-1]
				})
				if !errors.Is(err, c.want) || calls != c.calls {
					t.Errorf("%v after %d calls, want %v after %d", err, calls, c.want, c.calls)
				}
				if took := time.Since(started); took < c.atLeast {
					t.Errorf("took %s, want at least %s", took, c.atLeast)
				}
			})
		})
	}
}

func TestDoStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var told int
		err := Do(ctx, func(error, time.Duration) { told++ }, func() error { return errors.New("odd") })
		if fault.KindOf(err) != fault.Canceled || told < 7 {
			t.Errorf("got %v after %d failures, want a stop", err, told)
		}
	})
}
