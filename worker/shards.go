package worker

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

// ownerLease is how long the shards of a worker that died are held for it.
const ownerLease = 8 * time.Second

// ownership takes the shards that are assigned to this worker, and lets go of those that no longer are.
// A shard is read by the holder of its key: by the one to whom it is assigned, once the holder before has
// let go of it or its lease has ended.
type ownership struct {
	id     string
	client *clientv3.Client
	reader *queue.Reader
	log    *slog.Logger
	owned  func(n int) // told how many shards are owned

	assigned shard.Assignment
	holders  map[int]string // as etcd has it
	held     map[int]bool   // by this worker, and read
	leaving  map[int]bool   // by this worker, being drained
	drained  chan int
}

// run owns shards until ctx is done, and then lets go of all, within the time that drain lasts. Whenever
// etcd is away for longer than the lease it drops everything and begins again.
func (o *ownership) run(ctx, drain context.Context) error {
	for ctx.Err() == nil {
		if err := o.term(ctx, drain); err != nil && ctx.Err() == nil {
			o.log.Warn("lost hold of the shards, will take them again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// term is the time of one lease.
func (o *ownership) term(ctx, drain context.Context) error {
	session, err := cluster.NewSession(ctx, o.client, ownerLease)
	if err != nil {
		return err
	}
	defer session.Close()
	o.held, o.leaving, o.holders = make(map[int]bool), make(map[int]bool), make(map[int]string)
	o.drained = make(chan int, shard.Count)
	defer o.set()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	events, err := o.load(watching)
	if err != nil {
		return err
	}
	for {
		if err := o.reconcile(ctx, drain, session); err != nil {
			o.held = nil
			return err
		}
		select {
		case <-ctx.Done():
			o.letGo(drain, session)
			return nil
		case <-session.Done():
			o.held = nil
			return fault.Newf(fault.Unavailable, "keep etcd lease", "", "the lease ended")
		case n := <-o.drained:
			delete(o.leaving, n)
			if err := o.free(drain, session, n); err != nil {
				o.held = nil
				return err
			}
		case response, ok := <-events:
			if !ok || response.Err() != nil {
				if ctx.Err() != nil {
					continue
				}
				o.held = nil
				return fault.New(fault.Unavailable, "watch shards", "", response.Err())
			}
			for _, event := range response.Events {
				o.see(event.Kv, event.Type == mvccpb.DELETE)
			}
		}
	}
}

// load reads assignment and holders, and returns what happens to them from then on.
func (o *ownership) load(ctx context.Context) (clientv3.WatchChan, error) {
	response, err := o.client.Txn(ctx).Then(
		clientv3.OpGet(shard.AssignmentKey), clientv3.OpGet(shard.OwnerPrefix, clientv3.WithPrefix())).Commit()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read shards", "", err)
	}
	for _, part := range response.Responses {
		for _, kv := range part.GetResponseRange().Kvs {
			o.see(kv, false)
		}
	}
	return o.client.Watch(clientv3.WithRequireLeader(ctx), shard.KeyPrefix, clientv3.WithPrefix(),
		clientv3.WithRev(response.Header.Revision+1)), nil
}

// see takes note of a key.
func (o *ownership) see(kv *mvccpb.KeyValue, deleted bool) {
	key := string(kv.Key)
	if key == shard.AssignmentKey {
		var assignment shard.Assignment
		if !deleted {
			if err := json.Unmarshal(kv.Value, &assignment); err != nil {
				o.log.Error("cannot read the assignment, keeping the one before", "error", err)
				return
			}
		}
		o.assigned = assignment
		return
	}
	text, ok := strings.CutPrefix(key, shard.OwnerPrefix)
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 || n >= shard.Count {
		return
	}
	if deleted {
		delete(o.holders, n)
	} else {
		o.holders[n] = string(kv.Value)
	}
}

// reconcile takes what is assigned and free, and begins to drain what is no longer assigned.
func (o *ownership) reconcile(ctx, drain context.Context, session *concurrency.Session) error {
	var free []int
	for n, owner := range o.assigned {
		if owner == o.id && !o.held[n] && !o.leaving[n] && (o.holders[n] == "" || o.holders[n] == o.id) {
			free = append(free, n)
		}
	}
	taken, err := o.take(ctx, session, free)
	if err != nil {
		return err
	}
	for _, n := range taken {
		o.held[n] = true
	}
	var lost []int
	for n := range o.held {
		if o.assigned[n] != o.id {
			lost = append(lost, n)
			delete(o.held, n)
			o.leaving[n] = true
		}
	}
	if len(taken)+len(lost) == 0 {
		return nil
	}
	o.set()
	o.release(drain, lost)
	return nil
}

// release lets what is in hand of shards finish, until drain is done, and then tells term of each.
func (o *ownership) release(drain context.Context, shards []int) {
	drained := o.drained // that of this term: a later one has not lost these shards
	for _, n := range shards {
		go func() {
			if err := o.reader.Release(drain, n); err != nil && drain.Err() == nil {
				o.log.Warn("let go of a shard with work in hand", "shard", n, "error", err)
			}
			drained <- n
		}()
	}
}

// takeChunk is how many shards one transaction takes; etcd allows 128 operations.
const takeChunk = 128

// take writes this worker's key for shards that look free, and returns those that were.
func (o *ownership) take(ctx context.Context, session *concurrency.Session, shards []int) ([]int, error) {
	var taken []int
	for len(shards) > 0 {
		chunk := shards[:min(takeChunk, len(shards))]
		shards = shards[len(chunk):]
		all, err := o.takeAll(ctx, session, chunk)
		if err != nil {
			return nil, err
		}
		if all {
			taken = append(taken, chunk...)
			continue
		}
		for _, n := range chunk { // somebody has one of them
			one, err := o.takeAll(ctx, session, []int{n})
			if err != nil {
				return nil, err
			}
			if one {
				taken = append(taken, n)
			}
		}
	}
	return taken, nil
}

// takeAll takes all of the shards or none. A key of this worker's own from a lease before counts as free.
func (o *ownership) takeAll(ctx context.Context, session *concurrency.Session, shards []int) (bool, error) {
	var compare []clientv3.Cmp
	var put []clientv3.Op
	for _, n := range shards {
		key := shard.OwnerKey(n)
		if o.holders[n] == o.id {
			compare = append(compare, clientv3.Compare(clientv3.Value(key), "=", o.id))
		} else {
			compare = append(compare, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		}
		put = append(put, clientv3.OpPut(key, o.id, clientv3.WithLease(session.Lease())))
	}
	response, err := o.client.Txn(ctx).If(compare...).Then(put...).Commit()
	if err != nil {
		return false, fault.New(fault.Unavailable, "take shards", "", err)
	}
	return response.Succeeded, nil
}

// free deletes this worker's keys of shards.
func (o *ownership) free(ctx context.Context, session *concurrency.Session, shards ...int) error {
	for chunk := range slices.Chunk(shards, takeChunk) {
		var compare []clientv3.Cmp
		var remove []clientv3.Op
		for _, n := range chunk {
			key := shard.OwnerKey(n)
			compare = append(compare, clientv3.Compare(clientv3.LeaseValue(key), "=", session.Lease()))
			remove = append(remove, clientv3.OpDelete(key))
		}
		if _, err := o.client.Txn(ctx).If(compare...).Then(remove...).Commit(); err != nil {
			return fault.New(fault.Unavailable, "free shard", strconv.Itoa(chunk[0]), err)
		}
	}
	return nil
}

// letGo drains all shards, and frees each as soon as nothing of it is in hand; ending the session frees what is left.
func (o *ownership) letGo(drain context.Context, session *concurrency.Session) {
	rest := make([]int, 0, len(o.held))
	for n := range o.held {
		rest = append(rest, n)
	}
	o.held = nil
	o.set()
	o.release(drain, rest)
	for waiting := len(rest) + len(o.leaving); waiting > 0; {
		var idle []int
		select {
		case n := <-o.drained:
			idle = append(idle, n)
		case <-drain.Done():
			return
		}
		for more := true; more; {
			select {
			case n := <-o.drained:
				idle = append(idle, n)
			default:
				more = false
			}
		}
		waiting -= len(idle)
		if err := o.free(drain, session, idle...); err != nil && drain.Err() == nil {
			o.log.Warn("cannot free shards; they are free when the lease ends", "error", err)
			return
		}
	}
}

// set tells the reader which shards to read.
func (o *ownership) set() {
	shards := make([]int, 0, len(o.held))
	for n := range o.held {
		shards = append(shards, n)
	}
	o.reader.Assign(shards)
	o.owned(len(shards))
}
