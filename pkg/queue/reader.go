package queue

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// ErrClosed says that [Reader.Run] has ended. Its kind is [fault.Canceled].
var ErrClosed error = fault.New(fault.Canceled, "read", "queue", errors.New("the reader is closed"))

// ReaderConfig configures a [Reader].
type ReaderConfig struct {
	Connection Connection
	// Group is the name under which offsets are kept. All readers that take over from each other share it.
	Group string
	// Now and Bulk are the topics of the two lanes. They have the same number of partitions. Now may be "".
	Now, Bulk string
	// BufferRecords and BufferBytes bound what each lane fetches ahead; beyond one of them it fetches no more. The
	// second may be exceeded by one fetch, of about 1 MiB for each broker. 0 means 1,024 records and 4 MiB.
	BufferRecords int
	BufferBytes   int64
}

// Reader reads a changing set of partitions of two topics, the lanes, of which [job.Now] goes first: [Reader.Next] hands
// out a record of the bulk lane only when there is none of the other. Safe for concurrent use.
//
// What goes wrong on the way to the brokers is tried again for ever; [Reader.Healthy] tells what it is.
type Reader struct {
	config ReaderConfig
	health health
	lanes  []*lane // in the order in which they are served

	started chan struct{} // closed when Run has begun
	closed  chan struct{} // closed when Run has ended

	commits chan struct{} // holds a token while offsets are sent, so that a watermark is not overtaken by an earlier one

	mu      sync.Mutex // guards the partitions and backlogs of the lanes, and what follows
	run     bool
	admin   *kadm.Client
	arrived chan struct{} // closed, and made anew, when there is more to hand out
}

// NewReader returns a reader of no partitions. It connects when [Reader.Run] is called. Its error is a [fault.Invalid].
func NewReader(config ReaderConfig) (*Reader, error) {
	if config.Group == "" || config.Bulk == "" || config.Bulk == config.Now {
		return nil, fault.Newf(fault.Invalid, "configure", "reader", "group %q, topics %q and %q: want a group and two topics",
			config.Group, config.Now, config.Bulk)
	}
	if config.BufferRecords == 0 {
		config.BufferRecords = 1024
	}
	if config.BufferBytes == 0 {
		config.BufferBytes = 4 << 20
	}
	r := &Reader{
		config:  config,
		started: make(chan struct{}),
		closed:  make(chan struct{}),
		commits: make(chan struct{}, 1),
		arrived: make(chan struct{}),
	}
	topics := map[job.Lane]string{job.Now: config.Now, job.Bulk: config.Bulk}
	for _, l := range job.Lanes {
		if topics[l] != "" {
			r.lanes = append(r.lanes, newLane(r, l, topics[l]))
		}
	}
	return r, nil
}

// Run reads until ctx is done, then closes the connections within a second and returns nil. It can be
// called once. Whoever drains calls Assign, Release and Commit first and ends ctx thereafter.
// Its error is a [fault.Invalid] or [fault.Unsupported] and says that the connection is misconfigured.
func (r *Reader) Run(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	defer close(r.closed)
	var lanes sync.WaitGroup
	for _, l := range r.lanes {
		defer l.client.Close()
		lanes.Go(func() { l.run(ctx) })
	}
	close(r.started)
	lanes.Wait()
	return nil
}

// begin makes the clients.
func (r *Reader) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run {
		return fault.Newf(fault.Invalid, "run", "reader", "it was run before")
	}
	r.run = true
	for i, l := range r.lanes {
		if err := l.connect(); err != nil {
			for _, connected := range r.lanes[:i] {
				connected.client.Close()
			}
			close(r.closed)
			return err
		}
	}
	r.admin = kadm.NewClient(r.lanes[0].client)
	return nil
}

// Assign sets the partitions to read, of both lanes. It returns at once. From then on nothing is handed out
// of a partition that is no longer in the set, and what was fetched of it is forgotten; what is in hand may finish, and
// [Reader.Release] waits for that. A new partition begins at the offset committed for the group, at the earliest
// record where there is none or the log does not reach back so far. One that comes back before it was
// released goes on where it was.
func (r *Reader) Assign(partitions []int) {
	wanted := make(map[int]bool, len(partitions))
	for _, n := range partitions {
		wanted[n] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		l.assign(wanted)
	}
}

// Next returns the next record of any lane. It blocks until there is one or ctx is done. The record stays in hand until
// [Reader.Done] is called with it. Errors: [ErrClosed], and that of ctx.
func (r *Reader) Next(ctx context.Context) (Record, error) { return r.next(ctx, r.lanes) }

// NextOf is Next of one lane. Whoever has room for records of one lane only takes them with it, and does not wait
// behind the other.
func (r *Reader) NextOf(ctx context.Context, of job.Lane) (Record, error) {
	for i, l := range r.lanes {
		if l.lane == of {
			return r.next(ctx, r.lanes[i:i+1])
		}
	}
	return r.next(ctx, nil) // a lane that is not read has no records
}

func (r *Reader) next(ctx context.Context, lanes []*lane) (Record, error) {
	for {
		select {
		case <-r.closed:
			return Record{}, ErrClosed
		default:
		}
		record, ok, arrived := r.take(lanes)
		if ok {
			return record, nil
		}
		select {
		case <-arrived:
		case <-r.closed:
			return Record{}, ErrClosed
		case <-ctx.Done():
			return Record{}, wrap("read", "queue", ctx.Err())
		}
	}
}

// take hands out a record of the first of the lanes that has one. If none has, arrived is closed when that may have changed.
func (r *Reader) take(lanes []*lane) (_ Record, ok bool, arrived <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lanes {
		f := l.backlog.pop()
		if f == nil {
			continue
		}
		signal(l.space)
		f.record.progress = f.partition.progress
		f.partition.progress.handOut(f.record.Offset, f.epoch)
		return f.record, true, nil
	}
	return Record{}, false, r.arrived
}

// Done says that a record was processed, so that it need not be handed out again. Records may be done in any order; a
// record is done once. Nothing is sent before [Reader.Commit] or [Reader.Release].
func (r *Reader) Done(record Record) {
	if record.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record.progress.done(record.Offset)
	record.partition.checkIdle()
}

// Healthy returns what is wrong at the moment: brokers that do not answer, partitions that cannot be read.
// It is nil where all goes well. What is wrong is tried again all the time; the error is for people, and for readiness.
func (r *Reader) Healthy() error { return r.health.err() }

// Assigned returns the partitions that are read, in ascending order.
func (r *Reader) Assigned() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var assigned []int
	for n, p := range r.lanes[0].partitions {
		if p.wanted {
			assigned = append(assigned, n)
		}
	}
	slices.Sort(assigned)
	return assigned
}

// signal puts a token into a channel of capacity 1 unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
