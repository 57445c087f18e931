package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

func TestReadsEachRecordOnceAndInOrder(t *testing.T) {
	onCluster(t, func(e *env) {
		const n = 2000
		e.produce(e.bulk, "bulk", n)
		r := e.reader()
		r.Assign(all())
		next := map[int]int64{}
		for _, record := range r.take(n) {
			if record.Offset != next[record.Partition] {
				e.Fatalf("partition %d: offset %d, want %d", record.Partition, record.Offset, next[record.Partition])
			}
			next[record.Partition]++
		}
		r.none(3 * time.Second)
		if err := r.Healthy(); err != nil {
			e.Error(err)
		}
	})
}

func TestGoesOnAtTheWatermark(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		r := e.reader()
		r.Assign([]int{3})
		var records []Record
		for range 10 {
			records = append(records, r.next())
		}
		for _, i := range []int{9, 0, 4, 2, 1} { // offset 3 is the lowest that is not done
			r.Done(records[i])
			r.Done(records[i])
		}
		r.commit()
		r.stop()

		r = e.reader()
		r.Assign([]int{3})
		var offsets []int64
		for _, record := range r.take(7) {
			offsets = append(offsets, record.Offset)
		}
		if diff := cmp.Diff([]int64{3, 4, 5, 6, 7, 8, 9}, offsets); diff != "" {
			e.Errorf("read after the restart (-want +got):\n%s", diff)
		}
		r.commit()
		r.stop()

		r = e.reader()
		r.Assign([]int{3})
		r.none(3 * time.Second)
	})
}

func TestHandsOver(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "bulk", 20*partitions)
		e.produce(e.now, "now", 5*partitions)
		a := e.reader()
		a.Assign([]int{1, 2})
		inHand := map[int][]Record{}
		for range 12 {
			record := a.next()
			inHand[record.Partition] = append(inHand[record.Partition], record)
		}
		seen := map[string]bool{}
		note := func(records ...Record) {
			for _, v := range values(records) {
				if seen[v] {
					e.Errorf("%s was read twice", v)
				}
				seen[v] = true
			}
		}
		note(slices.Concat(inHand[1], inHand[2])...)

		a.Assign([]int{2})
		released := make(chan error)
		go func() { released <- a.Release(e.ctx, 1) }()
		for _, record := range inHand[1] {
			a.Done(record)
		}
		if err := <-released; err != nil {
			e.Fatal(err)
		}
		b := e.reader()
		b.Assign([]int{1})
		note(b.take(25 - len(inHand[1]))...)
		note(a.take(25 - len(inHand[2]))...)
		b.none(2 * time.Second)
		a.none(2 * time.Second)
		if len(seen) != 50 {
			e.Errorf("%d records were read, want 50", len(seen))
		}
	})
}

// TestNowGoesFirst holds that a record of the bulk lane is handed out only when there is none of the other.
func TestNowGoesFirst(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "bulk", 3000)
		r := e.reader()
		r.Assign(all())
		if first := r.next(); first.Lane != job.Bulk {
			e.Fatalf("read %q first", first.Value)
		}
		for range 3 {
			e.produce(e.now, "now", 50)
			synctest.Wait() // until it is fetched
			for i, record := range r.take(60) {
				if want := i < 50; want != (record.Lane == job.Now) {
					e.Fatalf("record %d is of lane %v", i, record.Lane)
				}
			}
		}
	})
}

// TestNextOf holds that of two who wait for one lane each, both are woken for their own, and nothing is had of the other.
func TestNextOf(t *testing.T) {
	inBubble(t, func(e *env) {
		r := e.reader()
		r.Assign(all())
		got := map[job.Lane]chan Record{job.Now: make(chan Record), job.Bulk: make(chan Record)}
		for lane, out := range got {
			go func() {
				for {
					record, err := r.NextOf(e.ctx, lane)
					if err != nil {
						return
					}
					select {
					case out <- record:
					case <-e.ctx.Done():
						return
					}
				}
			}()
		}
		synctest.Wait()
		e.produce(e.bulk, "bulk", 100) // nobody takes them from the channel
		e.produce(e.now, "now", 3)
		for _, lane := range []job.Lane{job.Now, job.Now, job.Bulk, job.Now, job.Bulk} {
			if record := <-got[lane]; record.Lane != lane {
				e.Errorf("read %q, want one of %v", record.Value, lane)
			}
		}
	})
}

// TestBackpressure holds that no more is fetched ahead than the bounds allow, and that a full bulk lane
// does not keep the other from being served.
func TestBackpressure(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "bulk", 5000)
		r := e.reader(func(c *ReaderConfig) { c.BufferRecords = 100 })
		r.Assign(all())
		time.Sleep(time.Minute) // fake
		r.mu.Lock()
		ahead := len(r.lanes[1].backlog.records)
		r.mu.Unlock()
		if ahead != 100 {
			e.Errorf("%d records are fetched ahead, want 100", ahead)
		}
		e.produce(e.now, "now", 1)
		synctest.Wait()
		if record := r.next(); record.Lane != job.Now {
			e.Errorf("read %q, want the record of the lane that goes first", record.Value)
		}
		r.take(5000)

		e.produce(e.bulk, strings.Repeat("x", 1000), 5000)
		r = e.reader(func(c *ReaderConfig) { c.BufferBytes = 200_000; c.Group = "other" })
		r.Assign(all())
		time.Sleep(time.Minute) // fake
		r.mu.Lock()
		bytes := r.lanes[1].backlog.bytes
		r.mu.Unlock()
		if bytes < 200_000 || bytes > 200_000+pollRecords*2100 {
			e.Errorf("%d bytes are fetched ahead", bytes)
		}
	})
}

// TestTakesNothingOfARemovedPartition holds from the return of Assign on, whatever is on its way.
func TestTakesNothingOfARemovedPartition(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "bulk", 100*partitions)
		r := e.reader()
		seen := map[string]int{}
		for round := range 60 {
			n := round % partitions
			r.Assign([]int{n, (n + 1) % partitions})
			for range 10 {
				record := r.next()
				if record.Partition != n && record.Partition != (n+1)%partitions {
					e.Fatalf("read partition %d while %d and the next are assigned", record.Partition, n)
				}
				seen[string(record.Value)]++
				r.Done(record)
			}
		}
		r.Assign(all())
		for _, record := range r.take(100*partitions - 600) {
			seen[string(record.Value)]++
		}
		if len(seen) != 100*partitions {
			e.Errorf("%d different records were read, want %d", len(seen), 100*partitions)
		}
	})
}

func TestComesBackBeforeItWasReleased(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		r := e.reader()
		r.Assign([]int{0})
		first := r.next()
		r.Assign(nil)
		released := make(chan error)
		go func() { released <- r.Release(e.ctx, 0) }()
		if e.fake != nil {
			synctest.Wait()
		}
		r.Assign([]int{0})
		if err := <-released; fault.KindOf(err) != fault.Conflict {
			e.Errorf("Release of a partition that came back: %v", err)
		}
		if second := r.next(); second.Offset != first.Offset+1 {
			e.Errorf("read offset %d after %d", second.Offset, first.Offset)
		}
		r.commit() // nothing is done: nothing to commit
		if lag, err := r.Lag(e.ctx); err != nil || lag != (Lag{Bulk: 10}) {
			e.Errorf("lag %+v, %v; want 10 in the bulk lane", lag, err)
		}
	})
}

func TestReleaseGivesUp(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		r := e.reader()
		r.Assign([]int{0, 1})
		inHand := []Record{r.next(), r.next()}
		if err := r.Release(e.ctx, inHand[0].Partition); fault.KindOf(err) != fault.Conflict {
			e.Errorf("Release of an assigned partition: %v", err)
		}
		if err := r.Release(e.ctx, 7); err != nil {
			e.Errorf("Release of a partition that was never assigned: %v", err)
		}
		r.Assign(nil)
		ctx, cancel := context.WithTimeout(e.ctx, time.Second)
		defer cancel()
		if err := r.Release(ctx, inHand[0].Partition); !errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("Release with a record in hand: %v", err)
		}
		// The partition is forgotten: what is still done of it changes nothing.
		r.Done(inHand[0])
		r.Done(inHand[1])
		r.commit()
		r.stop()
		r = e.reader()
		r.Assign([]int{inHand[0].Partition})
		if again := r.next(); again.Offset != inHand[0].Offset {
			e.Errorf("read offset %d, want %d again", again.Offset, inHand[0].Offset)
		}
	})
}

// TestOutOfRange holds that an offset that the log does not have leads to its earliest record.
func TestOutOfRange(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		admin, done := e.admin()
		defer done()
		var offsets kadm.Offsets
		offsets.AddOffset(e.bulk, 0, 1000, -1) // beyond the end
		offsets.AddOffset(e.bulk, 1, 2, -1)    // before the start, soon
		offsets.AddOffset(e.bulk, 2, 1000, 7)  // beyond the end, of a leader that there never was
		if err := admin.CommitAllOffsets(e.ctx, e.group, offsets); err != nil {
			e.Fatal(err)
		}
		var starts kadm.Offsets
		starts.AddOffset(e.bulk, 1, 5, -1)
		if deleted, err := admin.DeleteRecords(e.ctx, starts); err != nil || deleted.Error() != nil {
			e.Fatal(err, deleted.Error())
		}
		r := e.reader()
		for n, want := range map[int][]int64{0: {0, 1, 2}, 1: {5, 6, 7}, 2: {0, 1, 2}} {
			r.Assign([]int{n})
			for _, w := range want {
				if record := r.next(); record.Offset != w {
					e.Errorf("partition %d: read offset %d, want %d", n, record.Offset, w)
				}
			}
		}
	})
}

// TestTopicCreatedAnew holds that a reader goes on when all of Kafka was lost and set up again under its feet.
func TestTopicCreatedAnew(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "old", 10*partitions)
		r := e.reader()
		r.Assign(all())
		old := r.next()
		r.take(10*partitions - 1)
		r.commit()

		e.deleteTopics()
		recreate := func() error { return EnsureTopics(e.ctx, e.conn, e.topics()) }
		for err := recreate(); err != nil; err = recreate() {
			if !fault.Retryable(err) {
				e.Fatal(err) // Kafka deletes in the background
			}
		}
		message := []Message{{Topic: e.bulk, Partition: old.Partition, Value: []byte("new")}}
		err := e.producer.Produce(e.ctx, message)
		for fault.KindOf(err) == fault.Conflict || fault.KindOf(err) == fault.NotFound {
			err = e.producer.Produce(e.ctx, message)
		}
		if err != nil {
			e.Fatal(err)
		}
		record := r.next()
		if string(record.Value) != "new" {
			e.Errorf("read %q", record.Value)
		}
		r.Done(old) // of another log: it must not count in this one
		if lag, err := r.Lag(e.ctx); err != nil || lag.Bulk < 1 {
			e.Errorf("lag %+v, %v; want the record in hand", lag, err)
		}
		r.Done(record)
		r.commit()
	})
}

func TestLag(t *testing.T) {
	onCluster(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		e.produce(e.now, "now", 3*partitions)
		r := e.reader()
		r.Assign([]int{0, 1})
		r.take(20 + 6 - 1)
		inHand := r.next()
		want := Lag{Bulk: 1}
		if inHand.Lane == job.Now {
			want = Lag{Now: 1}
		}
		if lag, err := r.Lag(e.ctx); err != nil || lag != want {
			e.Errorf("lag %+v, %v; want %+v", lag, err, want)
		}
		r.Done(inHand)
		r.commit()
	})
}

func TestClosed(t *testing.T) {
	inBubble(t, func(e *env) {
		r := e.reader()
		r.Assign(all())
		synctest.Wait()
		r.stop()
		if _, err := r.Next(e.ctx); !errors.Is(err, ErrClosed) {
			e.Errorf("Next: %v", err)
		}
		if err := r.Commit(e.ctx); !errors.Is(err, ErrClosed) {
			e.Errorf("Commit: %v", err)
		}
		if err := r.Run(e.ctx); fault.KindOf(err) != fault.Invalid {
			e.Errorf("Run again: %v", err)
		}
	})
}

func TestNewReaderRefuses(t *testing.T) {
	for _, config := range []ReaderConfig{{}, {Group: "g"}, {Bulk: "b"}, {Group: "g", Now: "b", Bulk: "b"}} {
		if _, err := NewReader(config); fault.KindOf(err) != fault.Invalid {
			t.Errorf("NewReader(%+v): %v", config, err)
		}
	}
}
