package cluster

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/election"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

// CoordinatorPrefix is where coordinators stand for election in etcd.
const CoordinatorPrefix = "/trawl/coordinator"

// Picture is who is there and who does what, as seen from one process.
type Picture struct {
	Leader     election.Leader // zero where nobody leads
	Members    []membership.Member
	Owned      map[string]int // shards by the name of the worker that has taken them
	Unassigned int            // shards that no worker is responsible for
	Unowned    int            // shards that no worker has taken
}

// Picture asks etcd and the members. What etcd did not tell is left out beside an error.
func (c *Cluster) Picture(ctx context.Context) (Picture, error) {
	p := Picture{Members: c.Members.Members(), Owned: make(map[string]int), Unassigned: shard.Count, Unowned: shard.Count}
	leader, err := election.Current(ctx, c.Etcd, CoordinatorPrefix)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return p, err
	}
	p.Leader = leader
	response, err := c.Etcd.Get(ctx, shard.KeyPrefix, clientv3.WithPrefix())
	if err != nil {
		return p, fault.New(fault.Unavailable, "read shards", "", err)
	}
	for _, kv := range response.Kvs {
		key := string(kv.Key)
		if key == shard.AssignmentKey {
			var assignment shard.Assignment
			if err := json.Unmarshal(kv.Value, &assignment); err != nil {
				return p, err
			}
			for _, owner := range assignment {
				if owner != "" {
					p.Unassigned--
				}
			}
		} else if _, err := strconv.Atoi(strings.TrimPrefix(key, shard.OwnerPrefix)); err == nil {
			p.Owned[string(kv.Value)]++
			p.Unowned--
		}
	}
	return p, nil
}
