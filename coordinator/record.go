package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// outcome is how resolving a submission went.
type outcome struct {
	record     queue.Record
	submission store.Submission
	resolution store.Resolution
	err        error
	skip       bool // there was nothing to do
	untried    bool // err says why nothing was tried
	letter     *job.DeadLetter
	trace      string // the context of the span in which it was resolved
}

// traces returns, for layers that resolutions name, the span that their jobs belong to: of several the first. It is nil
// where nothing is traced.
func traces(batch []outcome) map[digest.Digest]string {
	var out map[digest.Digest]string
	for _, o := range batch {
		if o.trace == "" || o.err != nil {
			continue
		}
		if out == nil {
			out = make(map[digest.Digest]string)
		}
		for _, image := range o.resolution.Images {
			for _, layer := range image.Layers {
				if out[layer.Digest] == "" {
					out[layer.Digest] = o.trace
				}
			}
		}
	}
	return out
}

// recordAll writes outcomes to Postgres in batches, sends the layers they ask for, and only then lets go
// of the jobs.
func (r *resolving) recordAll(ctx context.Context) error {
	for {
		var batch []outcome
		select {
		case <-ctx.Done():
			return nil
		case o := <-r.outcomes:
			batch = queue.Gather(o, r.outcomes, batchSize, func(o outcome) job.Lane { return o.record.Lane })
		}
		err := r.recordBatch(ctx, batch)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // what was not recorded, a successor reads again
		}
		if err != nil {
			return err
		}
		for _, o := range batch {
			r.inHand.Delete(o.submission.ID)
			r.reader.Done(o.record)
		}
		if err := r.reader.Commit(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("cannot commit offsets, will try again", "error", err)
		}
	}
}

// recordBatch records outcomes, and tries again what may pass. A resolution that the database refuses for good must not
// stop the others: then each is recorded by itself, and the one that is refused becomes a failure of its submission.
func (r *resolving) recordBatch(ctx context.Context, batch []outcome) error {
	err := store.Insist(ctx, r.again("record images"), func() error { return r.record(ctx, batch) })
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, store.ErrFenced):
		return err
	case len(batch) > 1:
		for _, o := range batch {
			if err := r.recordBatch(ctx, []outcome{o}); err != nil {
				return err
			}
		}
		return nil
	case batch[0].err == nil && !batch[0].skip:
		batch[0].err = fault.Wrap("record", batch[0].submission.Target, err)
		return r.recordBatch(ctx, batch)
	}
	r.log.Error("cannot record what became of a submission", "submission", batch[0].submission.ID, "error", err)
	return nil // it stays queued, and is tried again when it is overdue
}

// again logs that something will be tried again.
func (c *Coordinator) again(what string) func(error, time.Duration) {
	return func(err error, pause time.Duration) {
		c.log.Warn("a step failed, will try again", "step", what, "error", err, "pause", pause)
	}
}

// record brings one batch of outcomes into Postgres and Kafka. Doing it twice does no harm.
func (r *resolving) record(ctx context.Context, batch []outcome) error {
	var resolutions []store.Resolution
	var postponed []store.Postponement
	var letters []job.DeadLetter
	for _, o := range batch {
		switch {
		case o.letter != nil:
			letters = append(letters, *o.letter)
		case o.skip:
		case o.err == nil:
			resolutions = append(resolutions, o.resolution)
		case ctx.Err() != nil: // told to stop: the job is not let go of, a successor resolves it
		default:
			p, letter := postponement(o, r.config.Backoff)
			postponed = append(postponed, p)
			if letter != nil {
				letters = append(letters, *letter)
			}
			r.log.Info("cannot resolve", "submission", o.submission.ID, "target", o.submission.Target, "error", o.err, "again", !p.Reject)
			r.metrics.resolved.WithLabelValues(fault.KindOf(o.err).String()).Inc()
		}
	}
	// Letters go first: whoever dies in between sends one twice, instead of none.
	if err := r.d.bury(ctx, letters); err != nil {
		return err
	}
	if err := r.config.Store.Postpone(ctx, r.d.term, postponed); err != nil {
		return err
	}
	if len(resolutions) == 0 {
		return nil
	}
	r.d.sending.Lock()
	defer r.d.sending.Unlock()
	dispatch, err := r.config.Store.RecordResolutions(ctx, r.d.term, r.config.Extractor, resolutions)
	if err != nil {
		return err
	}
	r.metrics.resolved.WithLabelValues("ok").Add(float64(len(resolutions)))
	r.metrics.layersKnown.Add(float64(dispatch.Known))
	return r.d.sendLayers(ctx, dispatch.AsOf, dispatch.Send, traces(batch))
}

// postponement decides what becomes of a submission that could not be resolved. Being told to come back later is no failure, nor
// is not having been tried.
func postponement(o outcome, backoff func(int) time.Duration) (store.Postponement, *job.DeadLetter) {
	failed := o.submission.Attempts
	if !o.untried && fault.KindOf(o.err) != fault.RateLimited {
		failed++
	}
	p := store.Postponement{ID: o.submission.ID, Attempts: failed, Problem: store.ProblemOf(o.err)}
	if job.Again(o.err, failed, hostOf(o.submission.Target) == "") {
		p.Delay = job.Park(o.err, o.submission.Attempts, backoff)
		return p, nil
	}
	p.Reject = true
	return p, &job.DeadLetter{
		Kind: job.KindImage, Subject: o.submission.ID, Reason: o.err.Error(), FaultKind: fault.KindOf(o.err).String(),
		Attempts: failed, At: time.Now().UTC(),
	}
}
