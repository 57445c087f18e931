package shard

import "strconv"

// Keys in etcd. The leader writes the [Assignment] at AssignmentKey. A worker that has taken a shard holds
// the key that OwnerKey names, under its lease; the value is the worker's ID.
const (
	KeyPrefix     = "/trawl/shards/"
	AssignmentKey = KeyPrefix + "assignment"
	OwnerPrefix   = KeyPrefix + "owner/"
)

// OwnerKey returns the key that the owner of a shard holds.
func OwnerKey(n int) string { return OwnerPrefix + strconv.Itoa(n) }
