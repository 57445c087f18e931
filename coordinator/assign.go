package coordinator

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/election"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

// assignInterval is how often the assignment is checked even though no change of members was noticed.
const assignInterval = 5 * time.Second

// assign keeps the assignment of shards in etcd what the live workers ask for, until ctx is done. It is
// written under the leader's key: a leader of the past cannot write it.
func (c *Coordinator) assign(ctx context.Context, elected election.Term) error {
	changes := c.config.Members.Watch(ctx)
	ticker := time.NewTicker(assignInterval)
	defer ticker.Stop()
	current, err := c.readAssignment(ctx)
	if err != nil {
		return err
	}
	var ears hearing
	for {
		c.listen(ctx, &ears, current)
		workers := ears.without(time.Now(), shardWorkers(c.config.Members.Members()))
		c.metrics.workers.Set(float64(len(workers)))
		// With no worker in sight the shards stay where they are: nobody could take them.
		if next := shard.Assign(workers); len(workers) > 0 && next != current {
			value, err := json.Marshal(next)
			if err != nil {
				return err
			}
			if err := elected.Put(ctx, shard.AssignmentKey, value); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fault.Wrap("write assignment", "", err)
			}
			moved := len(current.Moved(&next))
			c.metrics.shardsMoved.Add(float64(moved))
			c.log.Info("assigned shards", "workers", len(workers), "moved", moved)
			current = next
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-ticker.C:
		}
	}
}

// listen finds out which workers do not take what is assigned to them.
func (c *Coordinator) listen(ctx context.Context, ears *hearing, assigned shard.Assignment) {
	response, err := c.config.Etcd.Get(ctx, shard.OwnerPrefix, clientv3.WithPrefix())
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("cannot see who holds the shards", "error", err)
		}
		return
	}
	holders := make(map[int]string, len(response.Kvs))
	for _, kv := range response.Kvs {
		if n, err := strconv.Atoi(strings.TrimPrefix(string(kv.Key), shard.OwnerPrefix)); err == nil {
			holders[n] = string(kv.Value)
		}
	}
	for _, worker := range ears.observe(time.Now(), assigned, holders) {
		c.metrics.deaf.Inc()
		c.log.Warn("a worker does not take its shards, giving them to others for a while", "worker", worker)
	}
}

func (c *Coordinator) readAssignment(ctx context.Context) (shard.Assignment, error) {
	var current shard.Assignment
	response, err := c.config.Etcd.Get(ctx, shard.AssignmentKey)
	if err != nil {
		return current, fault.New(fault.Unavailable, "read assignment", "", err)
	}
	for _, kv := range response.Kvs {
		if err := json.Unmarshal(kv.Value, &current); err != nil {
			c.log.Warn("cannot read the assignment, making a new one", "error", err)
		}
	}
	return current, nil
}

// shardWorkers returns the members that take shards, with their capacities.
func shardWorkers(members []membership.Member) []shard.Worker {
	var out []shard.Worker
	for _, m := range members {
		if slices.Contains(m.Meta.Roles, membership.RoleWorker) {
			out = append(out, shard.Worker{ID: m.Name, Weight: m.Meta.Capacity})
		}
	}
	return out
}
