package queue

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var chaosSeeds = flag.Int("chaos", 4, "how many `seeds` TestChaos runs")

// TestChaos lets a few readers pass the partitions among them at random, as workers do, while jobs come in, records
// are done in any order, and, except in the quiet runs, brokers fail, connections break and readers die. It holds that
// each record that was acknowledged is done, and in a quiet run handed out exactly once. It runs in real time: while a partition
// moves, franz-go asks its former leader again and again at once, for which fake time would stand still.
func TestChaos(t *testing.T) {
	seeds := uint64(*chaosSeeds)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			inProcess(t, func(e *env) {
				c := &chaos{env: e, Rand: rand.New(rand.NewPCG(seed, 1)), quiet: seed%4 == 0, seen: map[string]int{}, done: map[string]bool{}}
				c.run()
			})
		})
	}
}

type chaos struct {
	*env
	*rand.Rand
	quiet   bool
	owners  []*owner
	sent    []string
	seen    map[string]int  // how often each was handed out
	done    map[string]bool // whether it was done before its reader died
	faults  []*kfake.FaultHandle
	batches int
}

// owner is a reader with what it owns and has in hand.
type owner struct {
	*reader
	owned  []int
	inHand []Record
}

func (c *chaos) run() {
	for range 3 {
		c.owners = append(c.owners, &owner{reader: c.reader()})
	}
	for n := range partitions {
		o := c.owners[n%len(c.owners)]
		o.owned = append(o.owned, n)
	}
	for _, o := range c.owners {
		o.Assign(o.owned)
	}
	for range 300 {
		c.step()
	}
	for _, f := range c.faults {
		f.Remove()
	}
	c.cable.set(false)
	c.drain()
	for _, v := range c.sent {
		switch n := c.seen[v]; {
		case !c.done[v]:
			c.Errorf("%s is lost: handed out %d times, never done", v, n)
		case n > 1 && c.quiet:
			c.Errorf("%s was read %d times", v, n)
		}
	}
	c.Logf("%d records, %d times handed out", len(c.sent), c.count())
}

func (c *chaos) count() (n int) {
	for _, times := range c.seen {
		n += times
	}
	return n
}

func (c *chaos) step() {
	o := c.owners[c.IntN(len(c.owners))]
	switch n := c.IntN(100); {
	case n < 15:
		c.send()
	case n < 55:
		c.read(o)
	case n < 75:
		c.finish(o, 1+c.IntN(10))
	case n < 83:
		ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
		err := o.Commit(ctx)
		cancel()
		if err != nil && c.quiet {
			c.Error(err)
		}
	case n < 90:
		c.move(o)
	case c.quiet:
	case n < 92:
		c.crash(o)
	case n < 97:
		c.breakSomething()
	default:
		c.cable.set(true)
		c.read(c.owners[c.IntN(len(c.owners))])
		c.cable.set(false)
	}
}

func (c *chaos) send() {
	topic := c.bulk
	if c.IntN(3) == 0 {
		topic = c.now
	}
	c.batches++
	messages := make([]Message, 1+c.IntN(40))
	for i := range messages {
		messages[i] = Message{Topic: topic, Partition: c.IntN(partitions), Value: fmt.Appendf(nil, "batch %d record %d", c.batches, i)}
	}
	if err := c.producer.Produce(c.ctx, messages); err != nil {
		c.Fatal(err)
	}
	for _, m := range messages {
		c.sent = append(c.sent, string(m.Value))
	}
}

// read takes some records into its hand.
func (c *chaos) read(o *owner) {
	for range 1 + c.IntN(20) {
		ctx, cancel := context.WithTimeout(c.ctx, 5*time.Millisecond)
		record, err := o.Next(ctx)
		cancel()
		if err != nil {
			return
		}
		if !slices.Contains(o.owned, record.Partition) {
			c.Errorf("read partition %d, which it does not own", record.Partition)
		}
		c.seen[string(record.Value)]++
		o.inHand = append(o.inHand, record)
	}
}

// finish does some of what is in hand, in any order.
func (c *chaos) finish(o *owner, n int) {
	for range min(n, len(o.inHand)) {
		i := c.IntN(len(o.inHand))
		c.finished(o, o.inHand[i])
		o.inHand = slices.Delete(o.inHand, i, i+1)
	}
}

func (c *chaos) finished(o *owner, r Record) {
	o.Done(r)
	c.done[string(r.Value)] = true
}

// move hands a partition over, as a drain does: what is in hand of it is done, then the other begins.
func (c *chaos) move(from *owner) {
	if len(from.owned) == 0 {
		return
	}
	to := c.owners[c.IntN(len(c.owners))]
	n := from.owned[c.IntN(len(from.owned))]
	from.owned = slices.DeleteFunc(from.owned, func(o int) bool { return o == n })
	from.Assign(from.owned)
	if c.IntN(3) > 0 { // sometimes it comes back before it was released
		from.inHand = slices.DeleteFunc(from.inHand, func(r Record) bool {
			if r.Partition == n {
				c.finished(from, r)
			}
			return r.Partition == n
		})
		ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
		err := from.Release(ctx, n)
		cancel()
		if err != nil && c.quiet {
			c.Error(err)
		}
	} else {
		to = from
	}
	to.owned = append(to.owned, n)
	to.Assign(to.owned)
}

// crash loses a reader with all that it has in hand. A new one takes its place.
func (c *chaos) crash(o *owner) {
	o.stop()
	*o = owner{reader: c.reader(), owned: o.owned}
	o.Assign(o.owned)
}

func (c *chaos) breakSomething() {
	broken := []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition},
		{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError},
		{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition},
		{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut},
		{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable},
		{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator},
		{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RequestTimedOut},
		{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnknownServerError},
		{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress},
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition},
		{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable},
	}
	switch c.IntN(4) {
	case 0:
		c.fake.ShufflePartitionLeaders()
	case 1:
		c.fake.RehashCoordinators()
	default:
		f := broken[c.IntN(len(broken))]
		f.Count = 1 + c.IntN(4)
		c.faults = append(c.faults, c.fake.Fault(f))
	}
}

// drain reads on until all that was sent is done.
func (c *chaos) drain() {
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	for _, o := range c.owners {
		c.finish(o, len(o.inHand))
	}
	for ctx.Err() == nil && (len(c.done) < len(c.sent) || !c.caughtUp(ctx)) {
		for _, o := range c.owners {
			c.read(o)
			c.finish(o, len(o.inHand))
		}
	}
	for _, o := range c.owners {
		if err := o.Commit(ctx); err != nil {
			c.Error(err)
		}
	}
}

// caughtUp reports whether no reader has anything left to do.
func (c *chaos) caughtUp(ctx context.Context) bool {
	for _, o := range c.owners {
		if lag, err := o.Lag(ctx); err != nil || lag != (Lag{}) {
			return false
		}
	}
	return true
}
