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

// Results are committed in batches: as many as come within commitWait of the first, commitSize at most.
const (
	commitSize = 64
	commitWait = 10 * time.Millisecond
)

// commitAll commits results until there will be no more, or drain is done.
func (w *Worker) commitAll(drain context.Context) error {
	for {
		first, ok := <-w.results
		if !ok {
			return nil
		}
		batch := []result{first}
		timer := time.NewTimer(commitWait)
	gather:
		for len(batch) < commitSize {
			select {
			case r, ok := <-w.results:
				if !ok {
					break gather
				}
				batch = append(batch, r)
			case <-timer.C:
				break gather
			}
		}
		timer.Stop()
		w.commitBatch(drain, batch)
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
	err := retry.Do(ctx, w.again("commit layers"), func() error { return w.commit(ctx, batch) })
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
	for _, r := range batch {
		for _, record := range r.records {
			w.reader.Done(record)
		}
	}
	if err := w.reader.Commit(ctx); err != nil {
		w.log.Warn("cannot commit offsets, will try again", "error", err)
	}
}

// commit brings a batch of results into Postgres, and then what became final to Kafka. Doing it twice does no
// harm.
func (w *Worker) commit(ctx context.Context, batch []result) error {
	var results []store.LayerResult
	var letters []job.DeadLetter
	jobs := make(map[digest.Digest]result)
	for _, r := range batch {
		if r.letter != nil {
			letters = append(letters, *r.letter)
			continue
		}
		results = append(results, r.LayerResult)
		jobs[r.Digest] = r
	}
	started := time.Now()
	committed, err := w.config.Store.CommitLayers(ctx, results)
	if err != nil {
		return err
	}
	w.metrics.committed(committed, time.Since(started))
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
		if messages[i], err = queue.DeadLetterMessage(letter); err != nil {
			return err
		}
	}
	return w.producer.Produce(ctx, messages)
}
