package worker

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// task is a job that was read.
type task struct {
	layer  job.Layer
	record queue.Record
}

// result is what became of the jobs for one layer.
type result struct {
	store.LayerResult
	layer   job.Layer
	records []queue.Record
	letter  *job.DeadLetter // the job could not be read; there is nothing to store
	trace   string          // the context of the span that the commit belongs to, "" where nothing is traced
}

// Jobs are looked at in batches, to ask Postgres in one query which layers are known already: as many as
// come within lookWait, lookSize at most.
const (
	lookSize = 64
	lookWait = 5 * time.Millisecond
)

// analyzeAll reads jobs and analyzes their layers, as many at once as a [schedule] allows, until ctx is done; then it
// waits for those under way, at most until drain is. What was read and not begun, the next owner of the shard reads again.
func (w *Worker) analyzeAll(ctx, drain context.Context) error {
	defer close(w.results)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Each lane is read by itself: while one waits for room, the other goes on.
	var read [len(job.Lanes)]chan []task
	for _, lane := range job.Lanes {
		read[lane] = make(chan []task)
		running.Go(func() {
			defer cancel() // there are no more jobs to come
			w.read(ctx, lane, read[lane])
		})
	}
	plan := newSchedule(w.config.Layers)
	ended := make(chan task)
	for {
		for t, ok := plan.begin(); ok; t, ok = plan.begin() {
			running.Go(func() {
				if r := w.analyze(drain, t); r != nil {
					w.results <- *r
				}
				select {
				case ended <- t:
				case <-ctx.Done():
				}
			})
		}
		more := read
		for lane := range more {
			if !plan.hasRoom(job.Lane(lane)) {
				more[lane] = nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case tasks := <-more[job.Now]:
			plan.add(tasks)
		case tasks := <-more[job.Bulk]:
			plan.add(tasks)
		case t := <-ended:
			plan.end(t)
		}
	}
}

// read reads the jobs of a lane until ctx is done, and passes on those that have to be analyzed.
func (w *Worker) read(ctx context.Context, lane job.Lane, out chan<- []task) {
	for ctx.Err() == nil {
		first, err := w.reader.NextOf(ctx, lane)
		if err != nil {
			return
		}
		tasks := w.decode([]task{}, first)
		soon, cancel := context.WithTimeout(ctx, lookWait)
		for len(tasks) < lookSize {
			record, err := w.reader.NextOf(soon, lane)
			if err != nil {
				break // none came soon; what ends ctx ends the next call too
			}
			tasks = w.decode(tasks, record)
		}
		cancel()
		tasks = w.unknown(ctx, tasks)
		select {
		case out <- tasks:
		case <-ctx.Done():
			return
		}
	}
}

// decode adds the task of a job. A job that cannot be read becomes a dead letter.
func (w *Worker) decode(tasks []task, record queue.Record) []task {
	layer, err := job.DecodeLayer(record.Value)
	if err != nil {
		w.results <- result{records: []queue.Record{record}, letter: &job.DeadLetter{
			Kind: job.KindLayer, Reason: err.Error(), FaultKind: fault.KindOf(err).String(), Job: job.Raw(record.Value), At: time.Now().UTC(),
		}}
		return tasks
	}
	layer.Lane = record.Lane
	return append(tasks, task{layer, record})
}

// unknown returns the tasks whose layers have no result yet. The others still have to complete the images
// that wait for them.
func (w *Worker) unknown(ctx context.Context, tasks []task) []task {
	digests := make([]digest.Digest, len(tasks))
	for i, t := range tasks {
		digests[i] = t.layer.Digest
	}
	var known map[digest.Digest]bool
	err := store.Insist(ctx, w.again("look up layers"), func() (err error) {
		known, err = w.config.Store.Analyzed(ctx, extract.Version, digests)
		return err
	})
	if err != nil {
		return nil // told to stop
	}
	out := tasks[:0]
	for _, t := range tasks {
		if !known[t.layer.Digest] {
			out = append(out, t)
			continue
		}
		w.metrics.layers.WithLabelValues("known").Inc()
		w.results <- result{
			LayerResult: store.LayerResult{Digest: t.layer.Digest, Extractor: extract.Version}, layer: t.layer, records: []queue.Record{t.record},
			trace: t.record.Header(queue.TraceParent),
		}
	}
	return out
}

// analyze reads one layer. It returns nil when somebody else in this process is reading it.
func (w *Worker) analyze(ctx context.Context, t task) *result {
	attempt := w.underway.begin(t.layer.Digest, t.record)
	if attempt == nil {
		return nil
	}
	started := time.Now()
	traced, span := w.beginLayer(ctx, t)
	content, stats, err := w.extract(traced, t.layer, attempt)
	endLayer(span, stats, err)
	r := &result{layer: t.layer, records: w.underway.end(t.layer.Digest), trace: tracing.Parent(traced)}
	r.LayerResult = store.LayerResult{
		Digest: t.layer.Digest, Extractor: extract.Version, RawBytes: stats.InflatedBytes, Attempt: t.layer.Attempt,
	}
	w.metrics.analyzed(stats, time.Since(started), err)
	if err == nil {
		r.Content = content
		return r
	}
	if ctx.Err() != nil { // drained away: not a failure of the layer, whoever owns the shard next reads it again
		return nil
	}
	r.Problem = store.ProblemOf(err)
	r.Retry = job.Again(err, t.layer.Attempt+1, isLocal(t.layer))
	r.Delay = job.Park(err, t.layer.Attempt, w.config.Backoff)
	w.log.Info("cannot analyze layer", "layer", t.layer.Digest.String(), "error", err, "again", r.Retry)
	return r
}

// extract reads the layer from the first of its repositories that has it.
func (w *Worker) extract(ctx context.Context, layer job.Layer, a *attempt) (*inventory.Layer, extract.Stats, error) {
	var stats extract.Stats
	var failed []error
	for _, repository := range layer.Repositories {
		blob := extract.Blob{
			Digest: layer.Digest, Inflated: layer.Inflated, Size: layer.Size, Prefix: layer.Prefix,
			Progress: func(n int64) { a.read.Store(n) },
		}
		open := func(ctx context.Context) (io.ReadCloser, error) {
			return w.config.OCI.Open(ctx, repository, oci.Layer{
				Digest: layer.Digest, MediaType: layer.MediaType, Size: layer.Size, Inflated: layer.Inflated, Prefix: layer.Prefix,
			})
		}
		var content inventory.Layer
		err := w.guard(layer.Digest, func() (err error) {
			content, stats, err = w.extractor.Layer(ctx, open, blob)
			return err
		})
		if err == nil {
			return &content, stats, nil
		}
		failed = append(failed, fault.Wrap("analyze", repository+"@"+layer.Digest.String(), err))
		if ctx.Err() != nil || isOfContent(err) {
			break
		}
	}
	return nil, stats, joined(layer.Digest, failed)
}

// guard calls f, which reads a layer, and makes an error of a panic. Layers are made by strangers, and readers of
// their formats have had mistakes; a layer that ends one worker would end the next, and so on.
func (w *Worker) guard(layer digest.Digest, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("a layer breaks its reader, please report this", "layer", layer.String(), "panic", p, "stack", string(debug.Stack()))
			err = fault.Newf(fault.Corrupt, "read", "layer", "a mistake of the program, please report this: %v", p)
		}
	}()
	return f()
}

// isOfContent reports whether err is about the bytes of a layer, which are the same wherever it is read from.
func isOfContent(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.TooLarge || kind == fault.Unsupported || kind == fault.Corrupt && !errors.Is(err, digest.ErrOther)
}

// isLocal reports whether a layer is read from a file.
func isLocal(layer job.Layer) bool {
	return len(layer.Repositories) > 0 && oci.IsLocal(layer.Repositories[0])
}

// joined makes one error of those of all repositories. Of what they mean the most hopeful counts: a layer that one
// repository does not have, and another cannot give now, is not lost.
func joined(layer digest.Digest, failed []error) error {
	switch len(failed) {
	case 0:
		return fault.Newf(fault.NotFound, "analyze", layer.String(), "the job names no repository that has it")
	case 1:
		return failed[0]
	}
	counts := failed[len(failed)-1]
	for _, err := range failed {
		if fault.Retryable(err) {
			counts = err
			break
		}
	}
	return &fault.Error{
		Kind: fault.KindOf(counts), After: fault.AfterOf(counts), Op: "analyze", Subject: layer.String(), Err: errors.Join(failed...),
	}
}

// again logs that something will be tried again.
func (w *Worker) again(what string) func(error, time.Duration) {
	return func(err error, pause time.Duration) {
		w.log.Warn("a step failed, will try again", "step", what, "error", err, "pause", pause)
	}
}

// How often progress is written, and how long a layer has to be under way for that.
const progressInterval = 400 * time.Millisecond

// showProgress lets everybody see how far long layers are, until ctx is done.
func (w *Worker) showProgress(ctx context.Context) error {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		read := w.underway.progress(progressInterval)
		if len(read) == 0 {
			continue
		}
		if err := w.config.Store.Progress(ctx, read); err != nil && ctx.Err() == nil {
			w.log.Debug("cannot note progress", "error", err)
		}
	}
}
