package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partitions is the number of partitions of the topics of the tests.
const partitions = 8

// env is a cluster with a pair of topics that only this test uses.
type env struct {
	*testing.T
	ctx       context.Context
	conn      Connection
	now, bulk string
	group     string
	producer  *Producer
	fake      *kfake.Cluster // nil where the cluster is a real one
	cable     *cable         // nil where the cluster is a real one
}

// cable is the way to the brokers, which can be cut.
type cable struct {
	network kfake.VirtualNetwork

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := c.network.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn = wire{conn}
	c.conns = append(c.conns, conn)
	return conn, nil
}

// wire is a pipe that breaks as a connection does.
type wire struct{ net.Conn }

func (w wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	return n, broken("read", err)
}

func (w wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	return n, broken("write", err)
}

func broken(op string, err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return &net.OpError{Op: op, Net: "tcp", Err: syscall.ECONNRESET}
	}
	return err
}

// set cuts the cable, with all that goes over it, or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// inBubble runs a test against an in-process cluster of three brokers, without sockets and in fake time.
func inBubble(t *testing.T, test func(*env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { inProcess(t, test) })
}

// inProcess runs a test against an in-process cluster of three brokers, without sockets.
func inProcess(t *testing.T, test func(*env)) {
	t.Helper()
	cable := new(cable)
	fake, err := kfake.NewCluster(kfake.Ports(9092, 9093, 9094), kfake.ListenFn(cable.network.Listen))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	runTest(t, fake, Connection{
		Brokers: fake.ListenAddrs(),
		Options: []kgo.Opt{kgo.Dialer(cable.dial)},
	}, func(e *env) { e.cable = cable; test(e) })
}

// onCluster runs a test in a bubble, and where TRAWL_TEST_KAFKA names the brokers of a real cluster, against that too.
func onCluster(t *testing.T, test func(*env)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) { inBubble(t, test) })
	t.Run("real", func(t *testing.T) {
		brokers := os.Getenv("TRAWL_TEST_KAFKA")
		if brokers == "" {
			t.Skip("TRAWL_TEST_KAFKA=host:port is not set: not tested against a real Kafka")
		}
		runTest(t, nil, Connection{Brokers: strings.Split(brokers, ",")}, test)
	})
}

func runTest(t *testing.T, fake *kfake.Cluster, conn Connection, test func(*env)) {
	ctx := t.Context()
	if fake == nil { // in fake time a test may last for days, and synctest finds out when it hangs
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
	}
	name := "test." + strings.ToLower(rand.Text()[:10])
	e := &env{T: t, ctx: ctx, conn: conn, fake: fake, now: name + ".now", bulk: name, group: name}
	if err := EnsureTopics(ctx, conn, e.topics()); err != nil {
		t.Fatal(err)
	}
	defer e.deleteTopics()
	// In a bubble not zstd: its decoders are closed by the garbage collector, from outside.
	compression := LZ4
	if fake == nil {
		compression = Zstd
	}
	producer, err := NewProducer(ProducerConfig{Connection: conn, Compression: compression})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	e.producer = producer
	test(e)
}

func (e *env) topics() []Topic {
	return []Topic{{e.now, partitions, day, 1 << 20}, {e.bulk, partitions, day, 1 << 20}}
}

func (e *env) admin() (*kadm.Client, func()) {
	client, err := e.conn.client()
	if err != nil {
		e.Fatal(err)
	}
	return kadm.NewClient(client), client.Close
}

func (e *env) deleteTopics() {
	admin, done := e.admin()
	defer done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 20*time.Second)
	defer cancel()
	if _, err := admin.DeleteTopics(ctx, e.now, e.bulk); err != nil {
		e.Logf("clean up: %v", err)
	}
}

// produce sends n records round robin to the partitions. Their values are "tag 0", "tag 1" and so on.
func (e *env) produce(topic, tag string, n int) {
	e.Helper()
	messages := make([]Message, n)
	for i := range messages {
		value := fmt.Sprintf("%s %d", tag, i)
		messages[i] = Message{Topic: topic, Partition: i % partitions, Key: []byte(value), Value: []byte(value)}
	}
	if err := e.producer.Produce(e.ctx, messages); err != nil {
		e.Fatal(err)
	}
}

// reader is a Reader that runs until it is stopped or the test ends.
type reader struct {
	*Reader
	env  *env
	stop func()
}

func (e *env) reader(change ...func(*ReaderConfig)) *reader {
	e.Helper()
	config := ReaderConfig{Connection: e.conn, Group: e.group, Now: e.now, Bulk: e.bulk}
	for _, c := range change {
		c(&config)
	}
	r, err := NewReader(config)
	if err != nil {
		e.Fatal(err)
	}
	ctx, cancel := context.WithCancel(e.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			e.Error(err)
		}
	}()
	stop := func() { cancel(); <-ended }
	e.Cleanup(stop)
	return &reader{r, e, stop}
}

// next returns the next record, which there must be.
func (r *reader) next() Record {
	r.env.Helper()
	ctx, cancel := context.WithTimeout(r.env.ctx, 30*time.Second)
	defer cancel()
	record, err := r.Next(ctx)
	if err != nil {
		r.env.Fatalf("%v; %v", err, r.Healthy())
	}
	return record
}

// take returns the next n records, done.
func (r *reader) take(n int) []Record {
	r.env.Helper()
	var records []Record
	for range n {
		record := r.next()
		r.Done(record)
		records = append(records, record)
	}
	return records
}

// none fails if there is a record within d.
func (r *reader) none(d time.Duration) {
	r.env.Helper()
	ctx, cancel := context.WithTimeout(r.env.ctx, d)
	defer cancel()
	if record, err := r.Next(ctx); err == nil {
		r.env.Errorf("read %q of partition %d at %d, want nothing", record.Value, record.Partition, record.Offset)
	}
}

func (r *reader) commit() {
	r.env.Helper()
	if err := r.Commit(r.env.ctx); err != nil {
		r.env.Fatal(err)
	}
}

func all() []int {
	numbers := make([]int, partitions)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

func values(records []Record) []string {
	var v []string
	for _, r := range records {
		v = append(v, string(r.Value))
	}
	return v
}

// batchSizes sums up how far batches are compressed.
type batchSizes struct{ plain, sent atomic.Int64 }

func (s *batchSizes) hook() kgo.Opt { return kgo.WithHooks(s) }

// OnProduceBatchWritten implements [kgo.HookProduceBatchWritten].
func (s *batchSizes) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	s.plain.Add(int64(m.UncompressedBytes))
	s.sent.Add(int64(m.CompressedBytes))
}

func (s *batchSizes) ratio() float64 { return float64(s.sent.Load()) / float64(s.plain.Load()) }
