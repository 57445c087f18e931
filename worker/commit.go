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
		err := retry.Do(drain, w.again("commit layers"), func() error { return w.commit(drain, batch) })
		switch {
		case drain.Err() != nil:
			for range w.results { // whoever owns the shards next does it again
			}
			return nil
		case err != nil:
			// What the store refuses for good would be refused again: it must not stop all other work.
			w.log.Error("cannot commit layers, giving them up for now", "layers", len(batch), "error", err)
			w.metrics.layers.WithLabelValues("lost").Add(float64(len(batch)))
			continue
		}
		for _, r := range batch {
			for _, record := range r.records {
				w.reader.Done(record)
			}
		}
		if err := w.reader.Commit(drain); err != nil {
			w.log.Warn("cannot commit offsets, will try again", "error", err)
		}
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
