package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TestOutage holds that a reader outlives an outage of any length, says so, and goes on where it was.
func TestOutage(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		r := e.reader(func(c *ReaderConfig) { c.BufferRecords = 16 })
		r.Assign(all())
		r.take(10)
		if err := r.Healthy(); err != nil {
			e.Errorf("before the outage: %v", err)
		}
		e.cable.set(true)
		time.Sleep(time.Hour) // fake
		if err := r.Healthy(); fault.KindOf(err) != fault.Unavailable {
			e.Errorf("in the outage: %v", err)
		}
		ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
		defer cancel()
		if err := r.Commit(ctx); fault.KindOf(err) != fault.Unavailable {
			e.Errorf("commit in the outage: %v", err)
		}
		e.cable.set(false)
		seen := map[string]bool{}
		for _, v := range values(r.take(10*partitions - 10)) {
			seen[v] = true
		}
		if len(seen) != 10*partitions-10 {
			e.Errorf("%d different records were read after the outage, want %d", len(seen), 10*partitions-10)
		}
		r.commit()
		time.Sleep(time.Minute) // fake
		if err := r.Healthy(); err != nil {
			e.Errorf("after the outage: %v", err)
		}
	})
}

// TestUnknownOffsets holds that a reader waits as long as it cannot learn where to begin: to begin at the
// earliest record because the coordinator did not answer would do all work again.
func TestUnknownOffsets(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault kfake.Fault
		want  error
	}{
		{"the coordinator is not ready", kfake.Fault{Err: kerr.CoordinatorLoadInProgress}, kerr.CoordinatorLoadInProgress},
		{"access denied", kfake.Fault{Err: kerr.GroupAuthorizationFailed}, kerr.GroupAuthorizationFailed},
		{"a server error", kfake.Fault{Err: kerr.UnknownServerError}, kerr.UnknownServerError},
		{"an answer without the partition", kfake.Fault{Err: kerr.UnknownServerError, TopLevel: true}, errNoAnswer},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(e *env) {
				e.produce(e.bulk, "bulk", 10*partitions)
				r := e.reader()
				r.Assign([]int{0})
				r.take(5)
				r.commit()
				r.stop()

				c.fault.Keys, c.fault.Count = []kmsg.Key{kmsg.OffsetFetch}, -1
				faults := e.fake.Fault(c.fault)
				r = e.reader()
				r.Assign([]int{0})
				r.none(20 * time.Second)
				if err := r.Healthy(); !errors.Is(err, c.want) {
					e.Errorf("healthy: %v", err)
				}
				faults.Remove()
				if record := r.next(); record.Offset != 5 {
					e.Errorf("began at offset %d, want 5", record.Offset)
				}
				time.Sleep(10 * time.Second) // fake, for the other lane
				if err := r.Healthy(); err != nil {
					e.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

func TestCommitFails(t *testing.T) {
	for _, c := range []struct {
		failure *kerr.Error
		kind    fault.Kind
	}{
		{kerr.UnknownMemberID, fault.Conflict},
		{kerr.GroupAuthorizationFailed, fault.Unauthorized},
		{kerr.InvalidCommitOffsetSize, fault.Unknown},
	} {
		t.Run(c.failure.Message, func(t *testing.T) {
			inBubble(t, func(e *env) {
				e.produce(e.bulk, "bulk", 10*partitions)
				r := e.reader()
				r.Assign([]int{0})
				r.take(10)
				faults := e.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: e.bulk, Partitions: []int32{0}, Err: c.failure, Count: -1})
				if err := r.Commit(e.ctx); !errors.Is(err, c.failure) || fault.KindOf(err) != c.kind {
					e.Errorf("commit: %v, kind %v", err, fault.KindOf(err))
				}
				faults.Remove()
				r.commit() // what was not committed is sent again
				r.stop()
				admin, done := e.admin()
				defer done()
				offsets, err := admin.FetchOffsets(e.ctx, e.group)
				if err != nil {
					e.Fatal(err)
				}
				sum := int64(0)
				for _, o := range offsets[e.bulk] {
					sum += o.At
				}
				if sum != 10 {
					e.Errorf("offsets %v are committed, want 10 records in all", offsets[e.bulk])
				}
			})
		})
	}
}

// TestUnreadablePartition holds that what cannot be read is named, and does not keep the rest from being read.
func TestUnreadablePartition(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "bulk", 10*partitions)
		faults := e.fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Fetch}, Topic: e.bulk, Partitions: []int32{3}, Err: kerr.KafkaStorageError, Count: -1,
		})
		r := e.reader()
		r.Assign(all())
		r.take(10 * (partitions - 1))
		r.none(20 * time.Second)
		err := r.Healthy()
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, kerr.KafkaStorageError) {
			e.Errorf("healthy: %v", err)
		}
		faults.Remove()
		r.take(10)
		time.Sleep(complaintAge) // fake
		if err := r.Healthy(); err != nil {
			e.Errorf("afterwards: %v", err)
		}
	})
}

func TestMissingPartition(t *testing.T) {
	inBubble(t, func(e *env) {
		r := e.reader()
		r.Assign([]int{partitions})
		r.none(5 * time.Second)
		if err := r.Healthy(); fault.KindOf(err) != fault.NotFound {
			e.Errorf("healthy: %v", err)
		}
	})
}

// TestRecommit holds that the offsets of a partition in which nothing happens are not forgotten by the brokers.
func TestRecommit(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "bulk", partitions)
		r := e.reader()
		r.Assign(all())
		r.take(partitions)
		commits := e.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1})
		r.commit()
		r.commit()
		if commits.Hits() != 1 {
			e.Errorf("%d commits for one change", commits.Hits())
		}
		r.mu.Lock()
		for _, p := range r.lanes[1].partitions {
			p.committedAt = p.committedAt.Add(-recommitAfter - time.Second)
		}
		r.mu.Unlock()
		r.commit()
		if commits.Hits() != 2 {
			e.Errorf("%d commits after an hour", commits.Hits())
		}
	})
}

// TestStalledPartition holds that a partition that the client has forgotten is read in the end.
func TestStalledPartition(t *testing.T) {
	inBubble(t, func(e *env) {
		e.produce(e.bulk, "first", partitions)
		r := e.reader()
		r.Assign(all())
		r.take(partitions)
		for _, l := range r.lanes {
			l.client.RemoveConsumePartitions(map[string][]int32{l.topic: {3}})
		}
		e.produce(e.bulk, "second", partitions)
		r.take(partitions - 1)
		r.none(stallCheck)
		time.Sleep(2 * stallCheck) // fake
		if record := r.take(1)[0]; record.Partition != 3 || record.Offset != 1 {
			e.Errorf("read %+v", record)
		}
		r.none(10 * stallCheck)
	})
}
