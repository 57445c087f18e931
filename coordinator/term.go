package coordinator

import (
	"context"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// eraKey holds in etcd the time, in seconds since eraOrigin, at which a leader first found this etcd cluster.
const eraKey = "/trawl/era"

// A term is the revision of the leader's key, which only ever grows within one etcd cluster. An etcd that
// was lost and set up anew starts over, and would elect leaders that Postgres believes to be of the past.
// So the term that fences Postgres has the era of the etcd cluster in its upper bits: 30 bits of
// seconds, which last until 2054, over 33 bits of revision, which last for decades.
const (
	eraBits    = 33
	eraOrigin  = 1_735_689_600 // 2025-01-01
	maxElapsed = 1<<30 - 1
)

// fenceTerm returns the term under which the leader elected in etcdTerm writes to Postgres.
func fenceTerm(ctx context.Context, client *clientv3.Client, etcdTerm int64) (int64, error) {
	now := strconv.FormatInt(time.Now().Unix()-eraOrigin, 10)
	response, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(eraKey), "=", 0)).
		Then(clientv3.OpPut(eraKey, now)).
		Else(clientv3.OpGet(eraKey)).Commit()
	if err != nil {
		return 0, fault.New(fault.Unavailable, "read era", eraKey, err)
	}
	if !response.Succeeded {
		now = string(response.Responses[0].GetResponseRange().Kvs[0].Value)
	}
	era, err := strconv.ParseInt(now, 10, 64)
	if err != nil || era < 0 || era > maxElapsed || etcdTerm >= 1<<eraBits {
		return 0, fault.Newf(fault.Corrupt, "read era", eraKey, "era %q and revision %d make no term", now, etcdTerm)
	}
	return era<<eraBits | etcdTerm, nil
}
