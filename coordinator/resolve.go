package coordinator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// batchSize is how many jobs are taken together, and how many outcomes recorded, at most; see [queue.Gather].
const batchSize = 128

// A registry is slow when an attempt took slowAfter. Those who wait for it while there is no more room are sent away for
// awayTime.
const (
	slowAfter = 10 * time.Second
	awayTime  = 5 * time.Minute
)

// resolve reads image jobs, resolves their submissions, as many at once as [slots] allows, and records what they mean,
// until ctx is done.
func (c *Coordinator) resolve(ctx context.Context, d *dispatcher) error {
	reader, err := queue.NewReader(queue.ReaderConfig{
		Connection: c.config.Kafka, Group: queue.GroupCoordinator, Now: queue.ImagesTopic(job.Now), Bulk: queue.ImagesTopic(job.Bulk),
	})
	if err != nil {
		return err
	}
	partitions := make([]int, queue.ImagePartitions)
	for i := range partitions {
		partitions[i] = i
	}
	reader.Assign(partitions)
	r := &resolving{Coordinator: c, d: d, reader: reader, outcomes: make(chan outcome, batchSize)}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return reader.Run(ctx) })
	// Each lane is read by itself: while one waits for room, the other goes on.
	for _, lane := range job.Lanes {
		r.queued[lane] = make(chan []task)
		g.Go(func() error { return r.take(ctx, lane) })
	}
	g.Go(func() error { return r.resolveAll(ctx) })
	g.Go(func() error { return r.recordAll(ctx) })
	return g.Wait()
}

// resolving is the state of one term's resolving.
type resolving struct {
	*Coordinator
	d        *dispatcher
	reader   *queue.Reader
	queued   [len(job.Lanes)]chan []task
	outcomes chan outcome
	inHand   sync.Map // ids of submissions that wait or are being resolved
}

// task is a submission to be resolved, and its job.
type task struct {
	submission store.Submission
	record     queue.Record
}

// take reads the jobs of a lane in batches, and passes on those that are still to be resolved.
func (r *resolving) take(ctx context.Context, lane job.Lane) error {
	for {
		records, err := nextBatch(ctx, r.reader, lane)
		if err != nil {
			if errors.Is(err, queue.ErrClosed) || ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop: a successor reads the jobs again
			}
			return err
		}
		tasks, err := r.lookUp(ctx, records)
		if err != nil {
			return err
		}
		select {
		case r.queued[lane] <- tasks:
		case <-ctx.Done():
			return nil
		}
	}
}

// nextBatch waits for a record of a lane and takes what else comes soon.
func nextBatch(ctx context.Context, reader *queue.Reader, lane job.Lane) ([]queue.Record, error) {
	first, err := reader.NextOf(ctx, lane)
	if err != nil {
		return nil, err
	}
	records := []queue.Record{first}
	soon, cancel := context.WithTimeout(ctx, queue.Patience(lane))
	defer cancel()
	for len(records) < batchSize {
		record, err := reader.NextOf(soon, lane)
		if err != nil {
			break // none came soon; what ends ctx ends the next call too
		}
		records = append(records, record)
	}
	return records, nil
}

// lookUp returns what is to be resolved, in the order of the jobs. What is not, it reports as an outcome.
func (r *resolving) lookUp(ctx context.Context, records []queue.Record) ([]task, error) {
	byID := make(map[string]queue.Record)
	var ids []string
	for _, record := range records {
		image, err := job.DecodeImage(record.Value)
		if err != nil {
			letter := job.DeadLetter{
				Kind: job.KindImage, Reason: err.Error(), FaultKind: fault.KindOf(err).String(), Job: job.Raw(record.Value), At: time.Now().UTC(),
			}
			r.report(ctx, outcome{record: record, letter: &letter})
			continue
		}
		if _, twice := byID[image.Submission]; twice {
			r.report(ctx, outcome{record: record, skip: true})
			continue
		}
		byID[image.Submission] = record
		ids = append(ids, image.Submission)
	}
	var submissions []store.Submission
	err := store.Insist(ctx, r.again("look up submissions"), func() (err error) {
		submissions, err = r.config.Store.QueuedSubmissions(ctx, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	var tasks []task
	for _, submission := range submissions {
		if _, busy := r.inHand.LoadOrStore(submission.ID, true); !busy {
			tasks = append(tasks, task{submission, byID[submission.ID]})
			delete(byID, submission.ID)
		}
	}
	for _, record := range byID { // resolved before, parked, or in hand
		r.report(ctx, outcome{record: record, skip: true})
	}
	slices.SortFunc(tasks, func(a, b task) int { return slices.Index(ids, a.submission.ID) - slices.Index(ids, b.submission.ID) })
	return tasks, nil
}

// resolveAll resolves what take passes on, until ctx is done. What is in hand then, a successor resolves.
func (r *resolving) resolveAll(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	type ending struct {
		turn[task]
		slow bool
	}
	ended := make(chan ending)
	plan := newSlots[task](r.config.Resolving)
	for {
		for t, ok := plan.begin(); ok; t, ok = plan.begin() {
			running.Go(func() {
				began := time.Now()
				r.report(ctx, r.resolveOne(ctx, t.item))
				select {
				case ended <- ending{t, time.Since(began) >= slowAfter}:
				case <-ctx.Done():
				}
			})
		}
		more := r.queued
		for _, lane := range job.Lanes {
			if !plan.hasRoom(lane) {
				r.park(ctx, plan.sendAway(lane))
			}
			if !plan.hasRoom(lane) {
				more[lane] = nil
			}
		}
		var tasks []task
		var lane job.Lane
		select {
		case <-ctx.Done():
			return nil
		case e := <-ended:
			plan.end(e.turn, e.slow)
		case tasks = <-more[job.Now]:
			lane = job.Now
		case tasks = <-more[job.Bulk]:
			lane = job.Bulk
		}
		for _, t := range tasks {
			plan.add(turn[task]{lane, hostOf(t.submission.Target), t})
		}
	}
}

// park has submissions come back later that wait for registries which are slow. They were not tried, and no attempt is counted.
func (r *resolving) park(ctx context.Context, away []turn[task]) {
	for _, t := range away {
		r.report(ctx, outcome{record: t.item.record, submission: t.item.submission, err: errAway(t.host), untried: true})
	}
}

// errAway says why a host was not asked.
func errAway(host string) error {
	err := fault.Newf(fault.Unavailable, "ask", host, "it answers slowly or not at all, and many wait for it")
	err.After = awayTime
	return err
}

// report hands an outcome to be recorded. It reports whether ctx still lasts.
func (r *resolving) report(ctx context.Context, o outcome) bool {
	select {
	case r.outcomes <- o:
		return true
	case <-ctx.Done():
		return false
	}
}
