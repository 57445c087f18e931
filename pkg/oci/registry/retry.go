package registry

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// maxPause is the longest wait that a registry may ask for and that is waited out here, inside a
// call. Longer ones are the caller's to plan.
const maxPause = 10 * time.Second

// passing reports whether it makes sense to ask again within the same call.
func passing(err error) bool {
	var settled *settledError
	return fault.KindOf(err) == fault.Unavailable && fault.AfterOf(err) <= maxPause && !errors.As(err, &settled)
}

// timedOut reports whether the trouble is that nothing came for as long as the configuration waits.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, errStalled) || errors.As(err, &timeout) && timeout.Timeout()
}

// retry calls f until it succeeds, fails for good or has failed too often, and returns its last error. Who was waited for in
// vain is not asked again: that would take as long once more, and the caller may have others to ask.
func (c *Client) retry(ctx context.Context, f func() error) error {
	for attempt := 0; ; attempt++ {
		err := f()
		if err == nil || attempt >= c.cfg.Retries || !passing(err) || timedOut(err) || !c.pause(ctx, attempt, err) {
			return err
		}
	}
}

// pause waits before the next attempt, as long as the last error asks for or else longer with each
// attempt. It reports whether it came to its end.
func (c *Client) pause(ctx context.Context, attempt int, err error) bool {
	d := fault.AfterOf(err)
	if d <= 0 {
		d = c.cfg.RetryDelay << min(attempt, 4)
		d += time.Duration((rand.Float64() - 0.5) / 2 * float64(d))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// anywhere calls f with each place of a repository until one succeeds. The error is that of the
// registry itself, which is the last.
func (c *Client) anywhere(ctx context.Context, r Repository, f func(place) error) error {
	var err error
	for _, at := range c.places(r) {
		if err = f(at); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}
