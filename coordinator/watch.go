package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

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
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		more, err := c.watchOnce(ctx, term)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrFenced):
			return err
		case err != nil:
			c.log.Warn("cannot look at references under watch, will try again", "error", err)
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// watchOnce does one round. It reports whether there may be more to do at once.
func (c *Coordinator) watchOnce(ctx context.Context, term int64) (bool, error) {
	due, err := c.config.Store.DueWatches(ctx, watchBatch)
	if err != nil {
		return false, err
	}
	looked := make([]store.Watched, len(due))
	var g errgroup.Group
	g.SetLimit(c.config.Resolving)
	for i, w := range due {
		g.Go(func() error {
			looked[i] = c.lookAt(ctx, w)
			return nil
		})
	}
	_ = g.Wait() // what failed stands in looked
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

// lookAt asks a registry where a reference points.
func (c *Coordinator) lookAt(ctx context.Context, w store.Watch) store.Watched {
	looked := store.Watched{Reference: w.Reference}
	target, err := oci.ParseTarget(w.Reference)
	var now digest.Digest
	if err == nil {
		now, err = c.config.OCI.Head(ctx, target)
	}
	if err != nil {
		looked.Err = err
		looked.Delay = min(job.Park(err, 0, c.config.Backoff), w.Every)
		return looked
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
