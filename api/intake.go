package api

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// intake lets submissions of requests that are made at once go to Postgres and Kafka together. It is for throughput, and
// costs one that comes alone nothing: while some are being recorded, those that come gather, and the first of them takes all
// along. Its zero value is empty; it needs no goroutine of its own.
type intake struct {
	mu      sync.Mutex
	waiting []*arrival
	busy    bool // somebody is recording
}

// arrival is one submission on its way.
type arrival struct {
	wish     store.Submission
	parent   string        // of what is traced from here on
	turn     chan struct{} // closed when it is up to this one to take along all that wait
	done     chan struct{} // closed when another has taken it along, to its end
	recorded *store.Submission
	err      error
}

// batchLimit is how many submissions go together at most.
const batchLimit = 128

// arrive puts a submission behind those that wait.
func (i *intake) arrive(a *arrival) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting = append(i.waiting, a)
	if !i.busy {
		i.busy = true
		close(a.turn)
	}
}

// take takes the first that wait.
func (i *intake) take() []*arrival {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := min(len(i.waiting), batchLimit)
	batch := i.waiting[:n:n]
	i.waiting = i.waiting[n:]
	return batch
}

// next gives the turn to the first that waits.
func (i *intake) next() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.waiting) == 0 {
		i.busy = false
		i.waiting = nil
		return
	}
	close(i.waiting[0].turn)
}

// accept records a submission, sends its job, and returns what is recorded, which for an Idempotency-Key may be of
// before. Once it is recorded nothing is lost: what could not be sent, the coordinator's sweep finds. It goes on when ctx
// ends, for others may have come along.
func (a *API) accept(ctx context.Context, wish store.Submission) (recorded *store.Submission, err error) {
	ctx, span := a.tracer.Start(ctx, "submit", trace.WithAttributes(
		attribute.String("trawl.submission", wish.ID), attribute.String("trawl.target", wish.Target)))
	defer func() { tracing.End(span, err) }()
	own := &arrival{wish: wish, parent: tracing.Parent(ctx), turn: make(chan struct{}), done: make(chan struct{})}
	a.intake.arrive(own)
	select {
	case <-own.done:
	case <-own.turn:
		a.bring(context.WithoutCancel(ctx))
	}
	return own.recorded, own.err
}

// How long submissions may take to be recorded, and how long is waited for Kafka before their jobs are left to the
// coordinator.
const (
	recordTimeout = 15 * time.Second
	sendTimeout   = 3 * time.Second
)

// bring records and sends all that wait. While they are sent, the next are recorded.
func (a *API) bring(ctx context.Context) {
	batch := a.intake.take()
	defer func() {
		for _, one := range batch {
			close(one.done)
		}
	}()
	func() {
		defer a.intake.next()
		recording, cancel := context.WithTimeout(ctx, recordTimeout)
		defer cancel()
		a.record(recording, batch)
	}()
	a.sendAll(ctx, batch)
}

// record records submissions. Where the database refuses them, each is recorded by itself, so that one does not take the
// others along.
func (a *API) record(ctx context.Context, batch []*arrival) {
	wishes := make([]store.Submission, len(batch))
	for n, one := range batch {
		wishes[n] = one.wish
	}
	added, err := a.config.Store.Accept(ctx, wishes)
	if err != nil && !fault.Retryable(err) && len(batch) > 1 {
		for n := range batch {
			a.record(ctx, batch[n:n+1])
		}
		return
	}
	for _, one := range batch {
		if err != nil {
			one.err = err
			continue
		}
		created, isNew := added[one.wish.ID]
		delete(added, one.wish.ID) // another of the same Idempotency-Key may have come along
		if !isNew {
			one.recorded, one.err = a.config.Store.Submission(ctx, one.wish.ID)
			continue
		}
		recorded := one.wish
		recorded.State, recorded.Created = store.Queued, created
		one.recorded = &recorded
	}
}

// sendAll sends the jobs of submissions that are queued.
func (a *API) sendAll(ctx context.Context, batch []*arrival) {
	var ids []string
	var messages []queue.Message
	var asOf time.Time // the earliest
	for _, one := range batch {
		s := one.recorded
		if one.err != nil || s.State != store.Queued {
			continue
		}
		a.metrics.submissions.WithLabelValues(s.Lane.String()).Inc()
		message, err := queue.ImageMessage(job.Image{Submission: s.ID, Lane: s.Lane})
		if err != nil {
			a.log.Error("cannot make the job of a submission", "submission", s.ID, "error", err)
			continue
		}
		message.Trace(one.parent)
		ids, messages = append(ids, s.ID), append(messages, message)
		if asOf.IsZero() || s.Created.Before(asOf) {
			asOf = s.Created
		}
	}
	if len(ids) == 0 || a.producer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := a.producer.Produce(ctx, messages)
	if err == nil {
		err = a.config.Store.MarkSubmissionsSent(ctx, asOf, ids)
	}
	if err != nil {
		a.log.Warn("cannot send the jobs of submissions, leaving them to the coordinator", "first", ids[0], "submissions", len(ids), "error", err)
	}
}
