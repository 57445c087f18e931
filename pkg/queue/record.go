package queue

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// Record is a message as it was read.
type Record struct {
	Lane      job.Lane
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Time      time.Time // when it was sent, UTC, by the clock of the sender

	partition *partition
	progress  *progress // the one that handed it out: a later one of the same partition knows nothing of it
}

// Header returns the value of the last header of that name, as the specification of Kafka headers
// wants it (KIP-82), or "".
func (r Record) Header(key string) string {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

func newFetched(lane job.Lane, p *partition, k *kgo.Record) *fetched {
	f := &fetched{
		partition: p,
		epoch:     k.LeaderEpoch,
		bytes:     int64(len(k.Key) + len(k.Value)),
		record: Record{
			Lane: lane, Topic: k.Topic, Partition: int(k.Partition), Offset: k.Offset,
			Key: k.Key, Value: k.Value, Time: k.Timestamp.UTC(), partition: p,
		},
	}
	for _, h := range k.Headers {
		f.bytes += int64(len(h.Key) + len(h.Value))
		f.record.Headers = append(f.record.Headers, Header{h.Key, h.Value})
	}
	return f
}
