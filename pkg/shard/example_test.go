package shard_test

import (
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

func ExampleAssign() {
	a := shard.Assign([]shard.Worker{{ID: "worker-0", Weight: 8}, {ID: "worker-1", Weight: 4}})
	s := shard.Of(digest.SHA256([]byte("hello")))
	fmt.Println("shard", s, "is owned by", a[s])
	fmt.Println(len(a.Shards("worker-0")), "and", len(a.Shards("worker-1")))
	// Output:
	// shard 14 is owned by worker-1
	// 173 and 83
}
