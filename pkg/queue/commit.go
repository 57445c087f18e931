package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// recommitAfter is when a watermark is sent again though it has not moved: brokers forget the offsets of a group
// without members offsets.retention.minutes after they were sent, seven days by default.
const recommitAfter = time.Hour

// Commit sends, for all partitions that are read or drain, the offset below which all is done, as far as it has
// changed. Where it fails, the next call sends the same or more. Errors: [fault.Conflict] when the
// group has real members, [fault.Unauthorized], [fault.Unavailable], [ErrClosed].
func (r *Reader) Commit(ctx context.Context) error {
	return r.commit(ctx, func(*partition) bool { return true })
}

// Release waits until all that is in hand of a partition that is no longer assigned is done, commits it and
// forgets the partition; whoever reads it next begins there. Where ctx ends first, or the commit fails, the
// partition is forgotten all the same, and what is not committed will be read again.
//
// Errors: [fault.Conflict] when the partition is assigned, or assigned again meanwhile, and then it is not forgotten; that
// of ctx; those of [Reader.Commit].
func (r *Reader) Release(ctx context.Context, number int) error {
	partitions := r.numbered(number)
	if len(partitions) == 0 {
		return nil
	}
	for _, p := range partitions {
		if err := r.awaitIdle(ctx, p); err != nil {
			if fault.KindOf(err) != fault.Conflict {
				r.forget(number)
			}
			return wrap("release partition", fmt.Sprint(number), err)
		}
	}
	err := r.commit(ctx, func(p *partition) bool { return p.number == number })
	if !r.forget(number) {
		err = fault.Newf(fault.Conflict, "wait for", "records in hand", "the partition is assigned")
	}
	return wrap("release partition", fmt.Sprint(number), err)
}

// numbered returns the partitions of that number that are read or drain, one for each lane.
func (r *Reader) numbered(number int) (partitions []*partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		if p := l.partitions[number]; p != nil {
			partitions = append(partitions, p)
		}
	}
	return partitions
}

func (r *Reader) awaitIdle(ctx context.Context, p *partition) error {
	r.mu.Lock()
	idle, wanted := p.idle, p.wanted
	r.mu.Unlock()
	if !wanted {
		select {
		case <-idle:
		case <-r.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		r.mu.Lock()
		wanted = p.wanted
		r.mu.Unlock()
	}
	if wanted {
		return fault.Newf(fault.Conflict, "wait for", "records in hand", "the partition is assigned")
	}
	return nil
}

// forget forgets a partition unless it is assigned.
func (r *Reader) forget(number int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		if p := l.partitions[number]; p != nil && p.wanted {
			return false
		}
	}
	for _, l := range r.lanes {
		delete(l.partitions, number)
	}
	return true
}

// mark is a watermark on its way to Kafka.
type mark struct {
	partition *partition
	progress  *progress
	topicID   kadm.TopicID
	position
}

func (r *Reader) commit(ctx context.Context, pick func(*partition) bool) error {
	if err := r.awaitStart(ctx); err != nil {
		return err
	}
	select {
	case r.commits <- struct{}{}:
		defer func() { <-r.commits }()
	case <-ctx.Done():
		return wrap("commit offsets of group", r.config.Group, ctx.Err())
	}
	marks := r.marks(pick)
	if len(marks) == 0 {
		return nil
	}
	failures, err := commitOffsets(ctx, r.lanes[0].client, r.config.Group, marks)
	if err != nil {
		return wrap("commit offsets of group", r.config.Group, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed []string
	for _, m := range marks {
		l := m.partition.lane
		if failure := failures[m.partition]; failure != nil {
			err = failure
			failed = append(failed, partitionName(l.topic, int32(m.partition.number)))
			if errors.Is(err, kerr.UnknownTopicID) {
				l.suspect = true
				l.interrupt()
			}
			continue
		}
		m.progress.committed = m.offset
		m.partition.committedAt = time.Now()
	}
	if len(failed) == 0 {
		return nil
	}
	return wrap("commit offsets of group", r.config.Group, fmt.Errorf("%d of %d partitions, first %s: %w",
		len(failed), len(marks), slices.Min(failed), err))
}

// marks returns the watermarks that Kafka does not have yet.
func (r *Reader) marks(pick func(*partition) bool) (marks []mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lanes {
		for _, p := range l.partitions {
			old := p.progress.known && !p.committedAt.IsZero() && time.Since(p.committedAt) > recommitAfter
			if pick(p) && (p.progress.uncommitted() || old) {
				at := position{p.progress.watermark(), p.progress.epoch}
				marks = append(marks, mark{p, p.progress, l.topicID, at})
			}
		}
	}
	return marks
}

func (r *Reader) awaitStart(ctx context.Context) error {
	select {
	case <-r.closed:
		return ErrClosed
	default:
	}
	select {
	case <-r.started:
		return nil
	case <-r.closed:
		return ErrClosed
	case <-ctx.Done():
		return wrap("wait for", "the reader to run", ctx.Err())
	}
}

// Lag is how much there is to do.
type Lag struct {
	Now, Bulk int64 // records not done, of the partitions assigned
	Unknown   int   // partitions assigned of which it is not known yet how far they are, two for each number
}

// Lag asks the brokers how far the partitions that are assigned reach, and returns what is not done of them.
func (r *Reader) Lag(ctx context.Context) (Lag, error) {
	if err := r.awaitStart(ctx); err != nil {
		return Lag{}, err
	}
	var lag Lag
	for _, l := range r.lanes {
		starts, ends, err := bounds(ctx, r.admin, l.topic)
		if err != nil {
			return Lag{}, wrap("measure lag of", l.topic, err)
		}
		records, unknown := l.lag(starts, ends)
		if l.lane == job.Now {
			lag.Now += records
		} else {
			lag.Bulk += records
		}
		lag.Unknown += unknown
	}
	return lag, nil
}

// bounds returns where the logs of a topic begin and end.
func bounds(ctx context.Context, admin *kadm.Client, topic string) (starts, ends kadm.ListedOffsets, err error) {
	if ends, err = admin.ListEndOffsets(ctx, topic); err == nil {
		err = ends.Error()
	}
	if err == nil {
		starts, err = admin.ListStartOffsets(ctx, topic)
	}
	if err == nil {
		err = starts.Error()
	}
	return starts, ends, err
}

// lag counts between watermark and end; below the start of the log there is nothing to count.
func (l *lane) lag(starts, ends kadm.ListedOffsets) (records int64, unknown int) {
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	for n, p := range l.partitions {
		start, okStart := starts.Lookup(l.topic, int32(n))
		end, okEnd := ends.Lookup(l.topic, int32(n))
		switch {
		case !p.wanted:
		case !okStart || !okEnd || !p.located:
			unknown++
		default:
			records += max(0, end.Offset-max(start.Offset, p.progress.watermark()))
		}
	}
	return records, unknown
}
