// Package shard provides the division of work by layer digest: which of the 256 shards a digest
// falls into, and which worker owns which shard.
//
// It is pure: no clock, no state, no IO. Who the workers are, and who may write the assignment down,
// is known elsewhere.
//
// # How shards go to workers
//
// [Assign] is weighted rendezvous hashing with bounded loads. Each pair of a shard and a worker has
// a cost, a pseudo-random number that only the two of them and the worker's weight decide. The assignment
// is the stable one: each shard goes to the worker of least cost that has room, where a worker
// that is full keeps the shards that are cheapest to it. Costs being the same seen from both sides, there
// is exactly one such assignment, whatever the order in which anyone looks at it:
//
//   - No worker has more than its cap, ⌈17/16 × its fair share⌉; see [Caps].
//   - A shard is not at a worker cheaper to it only if that worker is full, with shards cheaper still.
//
// When a worker leaves and no cap changes by it, a shard of another worker moves only when a shard that
// is cheaper there takes its place; it moves to a dearer worker, and the chain ends where there is room. When a
// worker joins and no cap changes, a shard moves only to the new worker, or to a cheaper one in which
// a place became free by that. Where caps change too, shards also move as far as the new caps force or allow.
//
// In numbers (TestMoves, random clusters of 2 to 1,000 workers): a leave or a join moves the shards of the one that
// left or joined, and besides on average less than 7 of the 256. Only where the caps of a whole class of equal
// workers step at once are there more, since each that had one too many must give it up: 17 at 34
// equal workers, 34 at 68, 58 at 136, 88 at 272. Such a step is the price of a bound that holds at each moment
// and of needing no history.
//
// # Format
//
// Hash and arithmetic are spelled out in cost.go and use integers only, so that each version of the
// program on each platform comes to the same assignment; golden files pin it. The wire form is in wire.go.
package shard

import "github.com/trawl-scanner/trawl/pkg/digest"

// Count is the number of shards. It is also the number of partitions of the topics that carry layers,
// and cannot change while messages are under way.
const Count = 256

// Of returns the shard of a blob: the first eight bytes of its digest, big-endian, modulo [Count].
func Of(d digest.Digest) int { return int(d.Prefix() % Count) }

// Worker is one that can own shards.
type Worker struct {
	ID string // unique in the cluster; not empty
	// Weight is its capacity in relation to that of others. At 0 and below it gets no shard.
	// Above [MaxWeight] it counts as that.
	Weight int
}

// MaxWeight is the largest weight that counts.
const MaxWeight = 1 << 20

// Assignment says who owns each shard: the ID of a worker, or "" for nobody. It is comparable.
type Assignment [Count]string

// Shards returns the shards of a worker in ascending order.
func (a *Assignment) Shards(worker string) []int {
	var shards []int
	for s, owner := range a {
		if owner == worker {
			shards = append(shards, s)
		}
	}
	return shards
}

// Moved returns the shards that have another owner in b than in a, in ascending order.
func (a *Assignment) Moved(b *Assignment) []int {
	var shards []int
	for s := range a {
		if a[s] != b[s] {
			shards = append(shards, s)
		}
	}
	return shards
}
