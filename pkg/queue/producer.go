package queue

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TraceParent is the header that carries the trace context (W3C Trace Context, section 3.2).
const TraceParent = "traceparent"

// Header is a name and a value that travel beside a message.
type Header struct {
	Key   string
	Value []byte
}

// Message is what is sent. Its slices must not change until it is acknowledged, nor after an error.
type Message struct {
	Topic     string
	Partition int
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Spread returns the partition of a key, of n: its 64-bit FNV-1a hash modulo n. It is for keys that are no digests;
// the partition of a layer is its shard.
func Spread(key []byte, n int) int {
	h := fnv.New64a()
	h.Write(key)
	return int(h.Sum64() % uint64(n))
}

// Compression is how a producer compresses batches.
type Compression string

// The compressions. Of layer jobs, 1,000 at a time, zstd leaves a third and the next two nearly half, at two
// thirds of their speed (BenchmarkProduce).
const (
	Zstd         Compression = "zstd"
	LZ4          Compression = "lz4"
	Snappy       Compression = "snappy"
	Uncompressed Compression = "none"
)

func (c Compression) codec() (kgo.CompressionCodec, error) {
	switch c {
	case Zstd, "":
		return kgo.ZstdCompression(), nil
	case LZ4:
		return kgo.Lz4Compression(), nil
	case Snappy:
		return kgo.SnappyCompression(), nil
	case Uncompressed:
		return kgo.NoCompression(), nil
	}
	return kgo.CompressionCodec{}, fault.Newf(fault.Unsupported, "compress with", string(c), "want zstd, lz4, snappy or none")
}

// ProducerConfig configures a [Producer].
type ProducerConfig struct {
	Connection Connection
	// Compression of batches. "" means [Zstd].
	Compression Compression
	// MaxBufferedBytes bounds what is under way at once; beyond it Produce waits. 0 means 32 MiB.
	MaxBufferedBytes int64
}

// Producer sends messages. Safe for concurrent use.
type Producer struct {
	client *kgo.Client
}

// NewProducer returns a producer. It connects when first used. The caller closes it.
func NewProducer(config ProducerConfig) (*Producer, error) {
	codec, err := config.Compression.codec()
	if err != nil {
		return nil, err
	}
	if config.MaxBufferedBytes == 0 {
		config.MaxBufferedBytes = 32 << 20
	}
	client, err := config.Connection.client(
		kgo.RequiredAcks(kgo.AllISRAcks()), // with idempotent writes, which are the default
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec, kgo.NoCompression()),
		kgo.MaxBufferedBytes(int(config.MaxBufferedBytes)),
		// The context of Produce must be able to end it. What was under way then may have arrived or not,
		// which the contract of at least once allows.
		kgo.AllowIdempotentProduceCancellation(),
	)
	if err != nil {
		return nil, err
	}
	return &Producer{client: client}, nil
}

// Close gives up what is under way and closes the connections.
func (p *Producer) Close() { p.client.Close() }

// Produce sends messages, and returns when all replicas in sync have acknowledged each of them. As long
// as ctx lasts, it tries again what may pass; so ctx should have a deadline. After an error any of the messages may have arrived;
// the caller sends all of them again.
//
// Errors name topic and partition of one message that is missing, and how many are. [fault.NotFound]: there is no such
// topic or partition. [fault.TooLarge]: a message is larger than the topic allows. [fault.Conflict]: the topic was
// deleted and created anew; the next call finds it. [fault.Unavailable], [fault.Canceled]: ctx ended.
func (p *Producer) Produce(ctx context.Context, messages []Message) error {
	waiting := make([]*Message, len(messages))
	for i := range messages {
		waiting[i] = &messages[i]
	}
	for len(waiting) > 0 {
		missing, failed, err := p.attempt(ctx, waiting)
		switch {
		case err != nil:
			if errors.Is(err, kerr.UnknownTopicID) {
				p.client.PurgeTopicsFromProducing(failed.Topic)
			}
			return fault.Newf(p.kindOf(failed, err), "produce to", partitionName(failed.Topic, int32(failed.Partition)),
				"%d of %d messages not acknowledged: %w", len(missing), len(messages), err)
		case ctx.Err() != nil && len(missing) > 0:
			return fault.Newf(kindOf(ctx.Err()), "produce to", partitionName(missing[0].Topic, int32(missing[0].Partition)),
				"%d of %d messages not acknowledged: %w", len(missing), len(messages), ctx.Err())
		}
		// What failed without an error of its own was under way to a partition to which another call, whose
		// context ended, had sent too: the client gives up all that waits for a partition at once.
		waiting = missing
	}
	return nil
}

// attempt sends messages once. It returns those that are not acknowledged, and if one of them failed for
// another reason than that a context ended, that one and its error.
func (p *Producer) attempt(ctx context.Context, messages []*Message) (missing []*Message, failed *Message, err error) {
	t := &tally{done: make(chan struct{}), waiting: len(messages), acked: make([]bool, len(messages))}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // so that what is under way does not pile up
	for i, m := range messages {
		p.client.Produce(ctx, m.record(), func(_ *kgo.Record, err error) { t.add(i, err) })
	}
	select {
	case <-t.done:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, acked := range t.acked {
		if !acked {
			missing = append(missing, messages[i])
		}
	}
	if t.err != nil {
		failed = messages[t.failed]
	}
	return missing, failed, t.err
}

func (m *Message) record() *kgo.Record {
	r := &kgo.Record{Topic: m.Topic, Partition: int32(m.Partition), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

// kindOf is [kindOf] that knows a partition that does not exist, for which the client has no error of its own.
func (p *Producer) kindOf(m *Message, err error) fault.Kind {
	kind := kindOf(err)
	if kind != fault.Unknown {
		return kind
	}
	if m.Partition < 0 {
		return fault.NotFound
	}
	if leader, _, loadErr := p.client.PartitionLeader(m.Topic, int32(m.Partition)); leader < 0 && loadErr == nil {
		return fault.NotFound
	}
	return kind
}

// tally counts what becomes of messages. The client goes on to report after the call that waits has ended.
type tally struct {
	done chan struct{} // closed when all are heard of

	mu      sync.Mutex
	waiting int
	acked   []bool // by message
	failed  int    // the first message that failed for a reason of its own
	err     error  // which
}

func (t *tally) add(i int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acked[i] = err == nil
	if err != nil && t.err == nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.failed, t.err = i, err
	}
	t.waiting--
	if t.waiting == 0 {
		close(t.done)
	}
}
