package main

import (
	"context"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/queue"
)

// lagTimeout is how long Kafka may take to tell the lag: who asks for the state of the cluster asks most when a part of it
// does not answer.
const lagTimeout = 3 * time.Second

// picture is what the API tells of the cluster.
func (p *process) picture(ctx context.Context) (api.Cluster, error) {
	picture, err := p.cluster.Picture(ctx)
	out := api.Cluster{
		Leader: picture.Leader.ID, Term: picture.Leader.Term, Since: picture.Leader.Since, Members: []api.Member{},
		Unassigned: picture.Unassigned, Unowned: picture.Unowned, EtcdHealthy: err == nil,
	}
	for _, m := range picture.Members {
		out.Members = append(out.Members, api.Member{
			Name: m.Name, Address: m.Addr, Roles: m.Meta.Roles, Capacity: m.Meta.Capacity, Load: m.Meta.Load, Version: m.Meta.Version,
			Shards: picture.Owned[m.Name],
		})
	}
	asking, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	images, failed := p.monitor.Lag(asking, queue.GroupCoordinator, queue.ImagesTopic)
	var layers queue.Lag
	if failed == nil {
		layers, failed = p.monitor.Lag(asking, queue.GroupWorkers, queue.LayersTopic)
	}
	if failed == nil {
		out.LagKnown = true
		out.LagNow, out.LagBulk, out.ImagesLagNow, out.ImagesLagBulk = layers.Now, layers.Bulk, images.Now, images.Bulk
	} else {
		p.log.Warn("cannot measure the lag", "error", failed)
	}
	return out, err
}

// loadInterval is how often the other members are told the load of a worker, at most.
const loadInterval = 5 * time.Second

// tellLoad tells the other members how busy this process is, until ctx is done.
func (p *process) tellLoad(ctx context.Context, load func() int) error {
	ticker := time.NewTicker(loadInterval)
	defer ticker.Stop()
	meta := p.meta
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := load()
		if now == meta.Load {
			continue
		}
		meta.Load = now
		if err := p.cluster.Members.Update(meta); err != nil && ctx.Err() == nil {
			p.log.Debug("cannot tell the members about this one's load", "error", err)
		}
	}
}
