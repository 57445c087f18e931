package coordinator

import (
	"context"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// collectInterval is how long the leader rests after it has looked through the database for what nobody needs, and
// collectPause how long after each batch, so that others have the database to themselves most of the time.
const (
	collectInterval = 15 * time.Minute
	collectPause    = 200 * time.Millisecond
)

// collect removes what nobody needs, batch by batch, until ctx is done.
func (c *Coordinator) collect(ctx context.Context, term int64) error {
	pause := collectPause
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		collected, round, err := c.config.Store.Collect(ctx, term, c.config.Retention)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // to be told to end is no error
		case err != nil && !fault.Retryable(err):
			return err
		case err != nil:
			c.log.Warn("cannot collect, will try again", "error", err)
			pause = collectInterval
			continue
		}
		c.metrics.collected.Add(float64(collected.Sum()))
		if pause = collectPause; round {
			pause = collectInterval
		}
	}
}
