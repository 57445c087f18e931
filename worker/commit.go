package worker

import (
	"context"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/retry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// commitSize is how many results are committed together at most; see [queue.Gather].
const commitSize = 64

// commitAll commits results until there will be no more, or drain is done.
func (w *Worker) commitAll(drain context.Context) error {
	for {
		first, ok := <-w.results
		if !ok {
			return nil
		}
		w.commitBatch(drain, queue.Gather(first, w.results, commitSize, func(r result) job.Lane { return r.layer.Lane }))
		if drain.Err() != nil {
			for range w.results { // whoever owns the shards next does it again
			}
			return nil
		}
	}
}

// commitBatch commits results and lets go of their jobs. It tries again what may pass, until ctx is done. A
// result that Postgres refuses for good must not stop the others: then each is committed by itself, and the
// one that is refused is recorded as a failure of its layer.
func (w *Worker) commitBatch(ctx context.Context, batch []result) {
	var committed store.Committed
	err := store.Insist(ctx, w.again("commit layers"), func() (err error) {
		committed, err = w.commit(ctx, batch)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && len(batch) > 1:
		for _, r := range batch {
			w.commitBatch(ctx, []result{r})
		}
		return
	case err != nil && batch[0].Content != nil:
		w.log.Error("the database refuses the result of a layer", "layer", batch[0].Digest.String(), "error", err)
		batch[0].Content, batch[0].Problem, batch[0].Retry = nil, store.ProblemOf(err), false
		w.commitBatch(ctx, batch)
		return
	case err != nil: // even the failure cannot be recorded; the job stays in hand and is seen as lag
		w.log.Error("cannot record what became of a layer", "layer", batch[0].Digest.String(), "error", err)
		w.metrics.layers.WithLabelValues("lost").Inc()
		return
	}
	if err := w.bury(ctx, batch, committed); err != nil {
		if ctx.Err() != nil {
			return // whoever gets the jobs next buries them
		}
		w.log.Error("cannot send dead letters; Postgres has what they say", "error", err)
	}
	for _, r := range batch {
		for _, record := range r.records {
			w.reader.Done(record)
		}
	}
	if err := w.reader.Commit(ctx); err != nil {
		w.log.Warn("cannot commit offsets, will try again", "error", err)
	}
}

// commit brings a batch of results into Postgres. Doing it twice does no harm.
func (w *Worker) commit(ctx context.Context, batch []result) (store.Committed, error) {
	var results []store.LayerResult
	for _, r := range batch {
		if r.letter == nil {
			results = append(results, r.LayerResult)
		}
	}
	started := time.Now()
	committed, err := w.config.Store.CommitLayers(ctx, results)
	if err == nil {
		w.metrics.committed(committed, time.Since(started))
		w.traceCommit(ctx, batch, started)
	}
	return committed, err
}

// bury sends dead letters for what was given up. Postgres has it recorded already.
func (w *Worker) bury(ctx context.Context, batch []result, committed store.Committed) error {
	var letters []job.DeadLetter
	jobs := make(map[digest.Digest]result)
	for _, r := range batch {
		if r.letter != nil {
			letters = append(letters, *r.letter)
		}
		jobs[r.Digest] = r
	}
	for d, attempts := range committed.Dead {
		r := jobs[d]
		letter := job.DeadLetter{Kind: job.KindLayer, Subject: d.String(), Attempts: attempts, At: time.Now().UTC()}
		if r.Problem != nil {
			letter.Reason, letter.FaultKind = r.Problem.Reason, r.Problem.Kind
		}
		if text, err := r.layer.Encode(); err == nil {
			letter.Job = job.Raw(text)
		}
		letters = append(letters, letter)
	}
	if len(letters) == 0 {
		return nil
	}
	messages := make([]queue.Message, len(letters))
	for i, letter := range letters {
		var err error
		if messages[i], err = queue.DeadLetterMessage(letter); err != nil {
			return err
		}
	}
	err := retry.Do(ctx, w.again("send dead letters"), func() error { return w.producer.Produce(ctx, messages) })
	if err == nil {
		w.metrics.dead.WithLabelValues(job.KindLayer).Add(float64(len(letters)))
	}
	return err
}
