package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

const (
	fetchBytes          = 1 << 20                // of one fetch from one broker
	fetchPartitionBytes = 256 << 10              // of it, of one partition
	fetchWait           = 100 * time.Millisecond // how long a broker holds an answer without records; as it answers a connection in order, a new partition waits as long for its first fetch
	fetchBulkBytes      = 16 << 10               // for so many a broker waits, as long as fetchWait, where nobody else does: an answer costs it much the same, whatever is in it
	pollRecords         = 256                    // the most taken from the client at once
	requestTimeout      = 15 * time.Second       // of a question about offsets or topics
	stallCheck          = 30 * time.Second       // how often it is looked whether a partition has stalled
)

// lane reads one topic. Reader.mu guards what stands between the blank lines; the rest belongs to run.
type lane struct {
	reader *Reader
	lane   job.Lane
	topic  string
	client *kgo.Client

	backlog    backlog
	partitions map[int]*partition
	interrupt  context.CancelFunc // ends the wait for records, to look at the partitions again
	topicID    kadm.TopicID       // of the topic when the first partition was located
	suspect    bool               // whether the topic may be another one by now

	space chan struct{} // holds a token when there may be room in the backlog

	fetching map[int]turn  // what the client fetches
	checked  time.Time     // when it was looked last whether a partition has stalled
	behind   map[int]int64 // partitions that had more to fetch then, and from which offset on
}

// turn is a partition being fetched.
type turn struct {
	partition *partition
	number    int // partition.turn when it began
}

func newLane(r *Reader, l job.Lane, topic string) *lane {
	return &lane{
		reader: r, lane: l, topic: topic,
		backlog:    backlog{maxRecords: r.config.BufferRecords, maxBytes: r.config.BufferBytes},
		partitions: make(map[int]*partition),
		interrupt:  func() {},
		space:      make(chan struct{}, 1),
		fetching:   make(map[int]turn),
	}
}

func (l *lane) connect() (err error) {
	least := int32(1)
	if l.lane == job.Bulk {
		least = fetchBulkBytes
	}
	l.client, err = l.reader.config.Connection.client(
		kgo.FetchMinBytes(least),
		kgo.WithHooks(&l.reader.health),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.FetchMaxWait(fetchWait),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepRetryableFetchErrors(), // so that Healthy knows of them
	)
	return err
}

// assign sets the partitions that are read.
func (l *lane) assign(wanted map[int]bool) {
	for n, p := range l.partitions {
		p.want(wanted[n])
	}
	for n := range wanted {
		if l.partitions[n] == nil {
			l.partitions[n] = newPartition(l, n)
		}
	}
	l.backlog.drop(func(p *partition) bool { return !p.wanted })
	signal(l.space)
	l.interrupt()
}

// run fetches until ctx is done.
func (l *lane) run(ctx context.Context) {
	start := "start of " + l.topic // what is complained about, beside brokers and partitions
	for failures := 0; ctx.Err() == nil; {
		err := l.reconcile(ctx)
		if err == nil {
			failures = 0
			l.reader.health.clear(start)
			l.fetch(ctx)
			l.restartStalled(ctx)
		} else if ctx.Err() == nil {
			failures++
			l.reader.health.complain(start, err)
			pause(ctx, failures)
		}
	}
}

// fetch waits for records and keeps them. It ends early, without any, when the set of partitions changes.
func (l *lane) fetch(ctx context.Context) {
	wait, cancel := context.WithTimeout(ctx, stallCheck)
	defer cancel()
	l.reader.mu.Lock()
	l.interrupt = cancel
	l.reader.mu.Unlock()
	if stop, begin := l.difference(); len(stop)+len(begin) > 0 {
		return // it changed before there was anything to interrupt
	}
	room := l.awaitRoom(wait)
	if room == 0 {
		return
	}
	if failed := l.keep(l.client.PollRecords(wait, min(room, pollRecords))); failed {
		pause(wait, 1)
	}
}

// awaitRoom returns how many records the backlog has room for, at least one, or 0 when wait is done.
func (l *lane) awaitRoom(wait context.Context) int {
	for {
		l.reader.mu.Lock()
		room := l.backlog.room()
		l.reader.mu.Unlock()
		if room > 0 {
			return room
		}
		select {
		case <-l.space:
		case <-wait.Done():
			return 0
		}
	}
}

// reconcile makes the client fetch the partitions that are wanted and no others.
func (l *lane) reconcile(ctx context.Context) error {
	if err := l.checkTopic(ctx); err != nil {
		return err
	}
	stop, begin := l.difference()
	for _, n := range stop {
		delete(l.fetching, int(n))
	}
	if len(stop) > 0 {
		l.client.RemoveConsumePartitions(map[string][]int32{l.topic: stop})
	}
	if len(begin) == 0 {
		return nil
	}
	if err := l.locate(ctx, begin); err != nil {
		return err
	}
	offsets := make(map[int32]kgo.Offset, len(begin))
	l.reader.mu.Lock()
	for _, t := range begin {
		p := t.partition
		if p.turn != t.number || !p.wanted {
			continue // it changed meanwhile; the next round begins it
		}
		offset := kgo.NewOffset().AtStart()
		if p.progress.known {
			offset = kgo.NewOffset().At(p.progress.next).WithEpoch(p.progress.epoch)
		}
		p.fetched = p.progress.next
		offsets[int32(p.number)] = offset
		l.fetching[p.number] = t
	}
	l.reader.mu.Unlock()
	l.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: offsets})
	return nil
}

// difference returns which fetches must stop and which must begin.
func (l *lane) difference() (stop []int32, begin []turn) {
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	current := func(t turn) bool {
		p := l.partitions[t.partition.number]
		return p == t.partition && p.wanted && p.turn == t.number
	}
	for n, t := range l.fetching {
		if !current(t) {
			stop = append(stop, int32(n))
		}
	}
	for n, p := range l.partitions {
		if t, is := l.fetching[n]; p.wanted && (!is || !current(t)) {
			begin = append(begin, turn{p, p.turn})
		}
	}
	return stop, begin
}

// locate finds out where those partitions begin that were never read.
func (l *lane) locate(ctx context.Context, begin []turn) error {
	l.reader.mu.Lock()
	located := !slices.ContainsFunc(begin, func(t turn) bool { return !t.partition.located })
	l.reader.mu.Unlock()
	if located {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	topic, err := l.describe(ctx)
	if err != nil {
		return err
	}
	numbers := make([]int32, len(begin))
	for i, t := range begin {
		n := t.partition.number
		if n < 0 || n >= len(topic.Partitions) {
			return fault.Newf(fault.NotFound, "find partition", strconv.Itoa(n), "the topic has %d", len(topic.Partitions))
		}
		numbers[i] = int32(n)
	}
	committed, err := committedOffsets(ctx, l.client, l.reader.config.Group, topic, numbers)
	if err != nil {
		return wrap("read offsets of group", l.reader.config.Group, err)
	}
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	l.topicID = topic.ID
	for _, t := range begin {
		if p := t.partition; !p.located && p.turn == t.number {
			p.located = true
			p.progress.start(committed[int32(p.number)])
		}
	}
	return nil
}

func (l *lane) describe(ctx context.Context) (kadm.TopicDetail, error) {
	topics, err := l.reader.admin.ListTopics(ctx, l.topic)
	if err != nil {
		return kadm.TopicDetail{}, wrap("describe topic", l.topic, err)
	}
	topic := topics[l.topic]
	return topic, wrap("describe topic", l.topic, topic.Err)
}

// checkTopic finds out, where there is cause to suspect it, whether the topic was deleted and created anew. All
// that was known of its partitions is void then.
func (l *lane) checkTopic(ctx context.Context) error {
	l.reader.mu.Lock()
	suspect := l.suspect
	l.reader.mu.Unlock()
	if !suspect {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	topic, err := l.describe(ctx)
	if err != nil {
		return err
	}
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	l.suspect = false
	if topic.ID == l.topicID {
		return nil // a broker had not heard of the topic yet
	}
	l.client.PurgeTopicsFromConsuming(l.topic)
	clear(l.fetching)
	for _, p := range l.partitions {
		p.restart()
	}
	l.backlog.drop(func(*partition) bool { return true })
	return nil
}

// keep puts what was fetched into the backlog. It reports whether anything went wrong.
func (l *lane) keep(fetches kgo.Fetches) (failed bool) {
	suspect := false
	fetches.EachError(func(topic string, n int32, err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		failed = true
		suspect = suspect || errors.Is(err, kerr.UnknownTopicID)
		l.reader.health.complain(partitionName(topic, n), err)
	})
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	l.suspect = l.suspect || suspect
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) > 0 && l.keepPartition(f.Partition, f.Records) {
			l.reader.health.clear(partitionName(f.Topic, f.Partition))
		}
	})
	return failed
}

// keepPartition reports whether the records are of a fetch that is still wanted.
func (l *lane) keepPartition(n int32, records []*kgo.Record) bool {
	t, ok := l.fetching[int(n)]
	if !ok || t.partition.turn != t.number || !t.partition.wanted {
		return false
	}
	p := t.partition
	if records[0].Offset < p.fetched {
		// The log was cut, or lost, and begins anew below what was read before: the
		// client was told by the broker and went to its start. What is in hand of the old log is no longer counted.
		l.backlog.drop(func(other *partition) bool { return other == p })
		p.progress = &progress{committed: p.progress.committed, epoch: -1}
	}
	for _, k := range records {
		l.backlog.push(newFetched(l.lane, p, k))
		p.fetched = k.Offset + 1
	}
	close(l.reader.arrived)
	l.reader.arrived = make(chan struct{})
	return true
}

func partitionName(topic string, n int32) string {
	if n < 0 {
		return topic
	}
	return topic + "/" + strconv.Itoa(int(n))
}

// pause waits after the nth failure in a row: 0.1 to 5 s, half of it by chance.
func pause(ctx context.Context, failures int) {
	longest := min(5*time.Second, 100*time.Millisecond<<min(failures-1, 6))
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
