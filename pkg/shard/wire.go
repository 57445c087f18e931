package shard

import (
	"encoding/json"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// wireVersion is the number "v" of the wire form. A later one is refused with [fault.Unsupported]: to
// guess at who owns what is worse than to wait for an update. Fields may be added under the same
// number, and unknown ones are ignored. History: 1 is the first.
const wireVersion = 1

// wire is the JSON form of an assignment: each owner is written once, the shards refer to it.
//
//	{"v":1,"workers":["a","b"],"owners":[0,1,1,-1,…]}
type wire struct {
	V       int      `json:"v"`
	Workers []string `json:"workers"` // sorted, distinct
	Owners  []int    `json:"owners"`  // by shard: an index into workers, or -1 for nobody
}

// MarshalJSON implements [json.Marshaler]. Equal assignments have equal bytes.
func (a Assignment) MarshalJSON() ([]byte, error) {
	w := wire{V: wireVersion, Workers: []string{}, Owners: make([]int, Count)}
	for _, owner := range a {
		if owner != "" {
			w.Workers = append(w.Workers, owner)
		}
	}
	slices.Sort(w.Workers)
	w.Workers = slices.Compact(w.Workers)
	for s, owner := range a {
		w.Owners[s] = -1
		if i, ok := slices.BinarySearch(w.Workers, owner); ok {
			w.Owners[s] = i
		}
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements [json.Unmarshaler]. Errors: [fault.Unsupported] for a later version,
// [fault.Corrupt] otherwise; the assignment is then left as it was.
func (a *Assignment) UnmarshalJSON(data []byte) error {
	const op = "decode shard assignment"
	var version struct{ V int }
	if err := json.Unmarshal(data, &version); err != nil {
		return fault.New(fault.Corrupt, op, "", err)
	}
	switch {
	case version.V > wireVersion:
		return fault.Newf(fault.Unsupported, op, "", "version %d: this program reads up to %d", version.V, wireVersion)
	case version.V < 1:
		return fault.Newf(fault.Corrupt, op, "", "version %d: the first is 1", version.V)
	}
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return fault.New(fault.Corrupt, op, "", err)
	}
	if len(w.Owners) != Count {
		return fault.Newf(fault.Corrupt, op, "", "%d shards: want %d", len(w.Owners), Count)
	}
	var decoded Assignment
	for s, i := range w.Owners {
		switch {
		case i < -1 || i >= len(w.Workers):
			return fault.Newf(fault.Corrupt, op, "", "shard %d has owner %d of %d", s, i, len(w.Workers))
		case i >= 0 && w.Workers[i] == "":
			return fault.Newf(fault.Corrupt, op, "", "worker %d has no ID", i)
		case i >= 0:
			decoded[s] = w.Workers[i]
		}
	}
	*a = decoded
	return nil
}
