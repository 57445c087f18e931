// Package retry provides doing something again while its error is of a kind that may pass.
package retry

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The pause after the first failure, and the longest one. Each is double the one before, and shortened
// by up to a half at random so that many processes do not come back at one moment.
const (
	minPause = 100 * time.Millisecond
	maxPause = 10 * time.Second
)

// Do calls f until it succeeds, fails with an error that is not retryable, or ctx is done. It returns
// f's last error, or the cause of ctx's end when f failed because of that. Between calls it pauses, at least as
// long as the error asks for. failed, if not nil, is told of each failure that will be tried again.
func Do(ctx context.Context, failed func(err error, pause time.Duration), f func() error) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fault.New(fault.Canceled, "stop", "", context.Cause(ctx))
		}
		if !fault.Retryable(err) {
			return err
		}
		wait := max(pause-time.Duration(rand.Int64N(int64(pause)/2)), fault.AfterOf(err))
		if failed != nil {
			failed(err, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fault.New(fault.Canceled, "stop", "", context.Cause(ctx))
		case <-timer.C:
		}
	}
}
