package coordinator

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// What one round of looking at references under watch takes on at most, and how often it begins.
const (
	watchBatch    = 256
	watchInterval = 2 * time.Second
)

// watch looks at references under watch when they are due, has those scanned that point at something else than what was
// scanned, and compares what was found before and after, until ctx is done.
//
// Looking is one HEAD request. That a reference was looked at and the submission that follows are written in one
// transaction, so whoever dies in between has it looked at again.
func (c *Coordinator) watch(ctx context.Context, term int64) error {
	return repeat(ctx, c.log, "look at references under watch", watchInterval, func(ctx context.Context) (bool, error) {
		return c.watchOnce(ctx, term)
	})
}

// watchOnce does one round. It reports whether there may be more to do at once.
func (c *Coordinator) watchOnce(ctx context.Context, term int64) (bool, error) {
	due, err := c.config.Store.DueWatches(ctx, watchBatch)
	if err != nil {
		return false, err
	}
	looked := c.lookAtAll(ctx, due)
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // what was not looked at stays due
	}
	if err := c.config.Store.NoteWatched(ctx, term, looked); err != nil {
		return false, err
	}
	for _, w := range looked {
		result := "same"
		switch {
		case w.Err != nil:
			result = "failed"
			c.log.Info("cannot look at a reference under watch", "reference", w.Reference, "error", w.Err)
		case w.Submission != nil:
			result = "moved"
		}
		c.metrics.watched.WithLabelValues(result).Inc()
	}
	compared, err := c.config.Store.CompareMoves(ctx, term, watchBatch)
	return len(due) == watchBatch || compared == watchBatch, err
}

// lookAtAll looks at references, as many at once as [slots] allows. A registry that turns out to be slow is not asked about
// the others of this round, so that the next one does not have to wait for it.
func (c *Coordinator) lookAtAll(ctx context.Context, due []store.Watch) []store.Watched {
	looked := make([]store.Watched, 0, len(due))
	type ending struct {
		turn[store.Watch]
		looked store.Watched
		slow   bool
	}
	ended := make(chan ending)
	plan := newSlots[store.Watch](c.config.Resolving)
	for _, w := range due {
		plan.add(turn[store.Watch]{job.Bulk, hostOf(w.Reference), w})
	}
	for len(looked) < len(due) {
		for t, ok := plan.begin(); ok; t, ok = plan.begin() {
			go func() {
				began := time.Now()
				looked := c.lookAt(ctx, t.item)
				ended <- ending{t, looked, time.Since(began) >= slowAfter}
			}()
		}
		e := <-ended
		plan.end(e.turn, e.slow)
		looked = append(looked, e.looked)
		for _, t := range plan.sendAway(job.Bulk) {
			looked = append(looked, c.unseen(t.item, errAway(t.host)))
		}
	}
	return looked
}

// unseen says that a reference could not be looked at, and when it will be again.
func (c *Coordinator) unseen(w store.Watch, err error) store.Watched {
	return store.Watched{Reference: w.Reference, Err: err, Delay: min(job.Park(err, 0, c.config.Backoff), w.Every)}
}

// lookAt asks a registry where a reference points.
func (c *Coordinator) lookAt(ctx context.Context, w store.Watch) store.Watched {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	looked := store.Watched{Reference: w.Reference}
	target, err := oci.ParseTarget(w.Reference)
	var now digest.Digest
	if err == nil {
		now, err = c.config.OCI.Head(ctx, target)
	}
	if err != nil {
		return c.unseen(w, err)
	}
	if now == w.Digest {
		return looked
	}
	id, err := uuid.NewV7()
	if err != nil {
		looked.Err = err
		return looked
	}
	looked.Submission = &store.Submission{ID: id.String(), Target: w.Reference, Title: w.Reference, Platforms: w.Platforms, Lane: job.Bulk}
	return looked
}
