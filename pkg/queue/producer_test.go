package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

func TestProduceCarriesAll(t *testing.T) {
	onCluster(t, func(e *env) {
		for i, compression := range []Compression{Zstd, LZ4, Snappy, Uncompressed} {
			if e.fake != nil && compression == Zstd {
				continue // see runTest
			}
			producer, err := NewProducer(ProducerConfig{Connection: e.conn, Compression: compression})
			if err != nil {
				e.Fatal(err)
			}
			defer producer.Close()
			want := Message{
				Topic: e.now, Partition: i, Key: []byte("key"), Value: bytes.Repeat([]byte("value "), 1000),
				Headers: []Header{{TraceParent, []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}, {"k", nil}},
			}
			if err := producer.Produce(e.ctx, []Message{want}); err != nil {
				e.Fatal(err)
			}
			r := e.reader()
			r.Assign([]int{i})
			got := r.take(1)[0]
			if diff := cmp.Diff(want, Message{got.Topic, got.Partition, got.Key, got.Value, got.Headers}); diff != "" {
				e.Errorf("%s (-sent +read):\n%s", compression, diff)
			}
			if got.Lane != job.Now || time.Since(got.Time).Abs() > time.Minute || got.Header(TraceParent) == "" || got.Header("other") != "" {
				e.Errorf("%s: read %+v", compression, got)
			}
		}
	})
}

func TestProduceRefused(t *testing.T) {
	onCluster(t, func(e *env) {
		good := Message{Topic: e.bulk, Partition: 0, Value: []byte("x")}
		for _, c := range []struct {
			name string
			bad  Message
			kind fault.Kind
		}{
			{"an unknown topic", Message{Topic: e.bulk + ".unknown", Value: []byte("x")}, fault.NotFound},
			{"an unknown partition", Message{Topic: e.bulk, Partition: partitions, Value: []byte("x")}, fault.NotFound},
			{"a negative partition", Message{Topic: e.bulk, Partition: -1, Value: []byte("x")}, fault.NotFound},
			{"a message of 2 MiB", Message{Topic: e.bulk, Value: make([]byte, 2<<20)}, fault.TooLarge},
		} {
			err := e.producer.Produce(e.ctx, []Message{good, c.bad})
			switch {
			case fault.KindOf(err) != c.kind:
				e.Errorf("%s: %v, kind %v; want kind %v", c.name, err, fault.KindOf(err), c.kind)
			case !strings.Contains(err.Error(), c.bad.Topic) || !strings.Contains(err.Error(), "of 2 messages"):
				e.Errorf("%s: %q does not name the topic", c.name, err)
			}
		}
		if err := e.producer.Produce(e.ctx, []Message{good}); err != nil {
			e.Errorf("afterwards: %v", err)
		}
		if err := e.producer.Produce(e.ctx, nil); err != nil {
			e.Errorf("nothing: %v", err)
		}
	})
}

// TestProduceTriesAgain holds that what may pass is not the caller's affair.
func TestProduceTriesAgain(t *testing.T) {
	inBubble(t, func(e *env) {
		for _, failure := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend} {
			e.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: failure, Count: 3})
			e.produce(e.bulk, failure.Message, partitions)
		}
		r := e.reader()
		r.Assign(all())
		r.take(4 * partitions) // idempotent writes: each once
		r.none(3 * time.Second)
	})
}

// TestProduceEnds holds that the context ends a call, whatever the brokers do, and that the producer lives on.
func TestProduceEnds(t *testing.T) {
	inBubble(t, func(e *env) {
		message := []Message{{Topic: e.bulk, Value: []byte("x")}, {Topic: e.bulk, Partition: 1, Value: []byte("y")}}
		limited := func(kind fault.Kind, d time.Duration, cancel error) {
			e.Helper()
			ctx, stop := context.WithTimeout(e.ctx, d)
			defer stop()
			start := time.Now()
			err := e.producer.Produce(ctx, message)
			if fault.KindOf(err) != kind || !errors.Is(err, cancel) {
				e.Errorf("%v, kind %v; want %v", err, fault.KindOf(err), kind)
			}
			if took := time.Since(start); took != d {
				e.Errorf("took %v, want %v", took, d)
			}
		}
		hang := make(chan struct{})
		e.fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			e.fake.KeepControl()
			e.fake.SleepControl(func() { <-hang })
			return nil, nil, false
		})
		limited(fault.Unavailable, 3*time.Second, context.DeadlineExceeded)
		e.cable.set(true)
		limited(fault.Unavailable, time.Minute, context.DeadlineExceeded)
		close(hang)
		e.cable.set(false)
		if err := e.producer.Produce(e.ctx, message); err != nil {
			e.Errorf("afterwards: %v", err)
		}
	})
}

func TestNewProducerRefuses(t *testing.T) {
	conn := Connection{Brokers: []string{"127.0.0.1:1"}}
	if _, err := NewProducer(ProducerConfig{Connection: conn, Compression: "rar"}); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("an unknown compression: %v", err)
	}
	if _, err := NewProducer(ProducerConfig{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no brokers: %v", err)
	}
}

// TestSpread pins the partitions of keys: an upgrade must not break the order of what has one key.
func TestSpread(t *testing.T) {
	for key, want := range map[string]int{"": 5, "a": 12, "sha256:2cf24dba": 14} {
		if got := Spread([]byte(key), 16); got != want {
			t.Errorf("Spread(%q, 16) = %d, want %d", key, got, want)
		}
	}
}

// BenchmarkProduce sends batches of 1,000 layer jobs to a broker in this process, over a socket.
func BenchmarkProduce(b *testing.B) {
	for _, compression := range []Compression{Zstd, LZ4, Snappy, Uncompressed} {
		b.Run(string(compression), func(b *testing.B) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(LayerPartitions, TopicLayers))
			if err != nil {
				b.Fatal(err)
			}
			defer fake.Close()
			conn := Connection{Brokers: fake.ListenAddrs()}
			sizes := new(batchSizes)
			conn.Options = append(conn.Options, sizes.hook())
			producer, err := NewProducer(ProducerConfig{Connection: conn, Compression: compression})
			if err != nil {
				b.Fatal(err)
			}
			defer producer.Close()
			messages := layerMessages(b, 1000)
			for b.Loop() {
				if err := producer.Produce(b.Context(), messages); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(sizes.ratio(), "sent/plain")
		})
	}
}

func layerMessages(tb testing.TB, n int) []Message {
	messages := make([]Message, n)
	for i := range messages {
		l := job.Layer{
			Digest: digest.SHA256(fmt.Append(nil, i)), MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Size: int64(i * 7919),
			Repositories: []string{fmt.Sprintf("docker.io/user%d/app%d", i%97, i%13)}, Term: 12345,
		}
		value, err := l.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		messages[i] = Message{Topic: TopicLayers, Partition: int(l.Digest.Prefix() % LayerPartitions), Key: l.Key(), Value: value}
	}
	return messages
}

// TestProducersDoNotDisturbEachOther holds that a call whose context ends does not fail another that sends to the same partition.
func TestProducersDoNotDisturbEachOther(t *testing.T) {
	inBubble(t, func(e *env) {
		hang := make(chan struct{})
		e.fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			e.fake.SleepControl(func() { <-hang })
			return nil, nil, false
		})
		patient := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(e.ctx, time.Second)
			defer cancel()
			if err := e.producer.Produce(ctx, []Message{{Topic: e.bulk, Value: []byte("impatient")}}); !errors.Is(err, context.DeadlineExceeded) {
				e.Errorf("impatient: %v", err)
			}
			close(hang)
		}()
		synctest.Wait()
		go func() { patient <- e.producer.Produce(e.ctx, []Message{{Topic: e.bulk, Value: []byte("patient")}}) }()
		if err := <-patient; err != nil {
			e.Errorf("patient: %v", err)
		}
		r := e.reader()
		r.Assign([]int{0})
		for string(r.take(1)[0].Value) != "patient" {
		}
	})
}
