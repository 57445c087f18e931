package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestMain(m *testing.M) {
	os.Exit(crashtest.Main(m, map[string]func(context.Context, []string) error{
		"produce": produceForEver,
		"trim":    trimForEver,
	}))
}

const (
	topic      = "trawl.test"
	partitions = 4
	group      = "readers"
)

// produceForEver starts a broker in args[0] and produces 1, 2, 3, … to partition n mod 4, commits n as
// the offset of partition 0, and prints each number once both are acknowledged.
func produceForEver(ctx context.Context, args []string) error {
	s, err := Start(ctx, Config{Dir: args[0], Log: os.Stderr, TrimEvery: -1})
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(s.ClientOpts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return err
	}
	for n := 1; ; n++ {
		r := &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte(strconv.Itoa(n))}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
		if err := commit(ctx, admin, 0, int64(n)); err != nil {
			return err
		}
		fmt.Println("produced", n)
	}
}

// trimForEver starts a broker in args[0], and again and again produces to partition 0, commits that it
// was read, trims, and prints the number of records acknowledged so far.
func trimForEver(ctx context.Context, args []string) error {
	s, err := Start(ctx, Config{Dir: args[0], Log: os.Stderr, TrimEvery: -1})
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(s.ClientOpts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, partitions, 1, map[string]*string{"segment.bytes": kadm.StringPtr("1000")}, topic); err != nil {
		return err
	}
	for n := 1; ; n++ {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(n))}).FirstErr(); err != nil {
			return err
		}
		if err := commit(ctx, admin, 0, int64(n)); err != nil {
			return err
		}
		if _, err := s.Trim(ctx); err != nil {
			return err
		}
		fmt.Println("trimmed", n)
	}
}

// commit commits an offset of a partition of the topic.
func commit(ctx context.Context, admin *kadm.Client, partition int32, at int64) error {
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, at, -1)
	return admin.CommitAllOffsets(ctx, group, offsets)
}

func mustStart(t *testing.T, cfg Config) *Server {
	t.Helper()
	begin := time.Now()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %v", time.Since(begin))
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client returns a client that is closed before the server is stopped.
func mustClient(t *testing.T, s *Server, more ...kgo.Opt) (*kgo.Client, *kadm.Client) {
	t.Helper()
	more = append(more, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	client, err := kgo.NewClient(append(s.ClientOpts(), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, kadm.NewClient(client)
}

func createTopic(t *testing.T, admin *kadm.Client, configs map[string]*string) {
	t.Helper()
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
}

// produce sends n records of so many bytes, which do not compress, to partition 0 in batches of a
// hundred.
func produce(t *testing.T, client *kgo.Client, n, size int) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{})
	for sent := 0; sent < n; sent += 100 {
		batch := make([]*kgo.Record, min(100, n-sent))
		for i := range batch {
			value := make([]byte, size)
			random.Read(value)
			batch[i] = &kgo.Record{Topic: topic, Value: value}
		}
		if err := client.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// consume returns the values of partition p from an offset on, n of them.
func consume(t *testing.T, s *Server, p int32, from kgo.Offset, n int) []string {
	t.Helper()
	client, _ := mustClient(t, s, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: from}}))
	var values []string
	for len(values) < n {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// offsets returns the first offset of partition 0, and the one after its last.
func offsets(t *testing.T, admin *kadm.Client) (start, end int64) {
	t.Helper()
	starts, err := admin.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := starts.Lookup(topic, 0)
	last, _ := ends.Lookup(topic, 0)
	return first.Offset, last.Offset
}

func committed(t *testing.T, admin *kadm.Client) int64 {
	t.Helper()
	fetched, err := admin.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := fetched.Lookup(topic, 0)
	if !ok {
		return -1
	}
	return o.At
}

// TestRestart stops and starts the same broker: records, topics and offsets are there, and nothing is
// left of a stopped one.
func TestRestart(t *testing.T) {
	leaktest.Check(t)
	for _, sync := range []bool{false, true} {
		t.Run(fmt.Sprintf("sync %t", sync), func(t *testing.T) {
			cfg := Config{Dir: filepath.Join(t.TempDir(), "made", "on the way"), Sync: sync}
			s := mustStart(t, cfg)
			client, admin := mustClient(t, s)
			createTopic(t, admin, nil)
			produce(t, client, 300, 100)
			if err := commit(t.Context(), admin, 0, 200); err != nil {
				t.Fatal(err)
			}
			client.Close()
			if err := errors.Join(s.Stop(t.Context()), s.Stop(t.Context())); err != nil {
				t.Fatal(err)
			}

			s = mustStart(t, cfg)
			_, admin = mustClient(t, s)
			if start, end := offsets(t, admin); start != 0 || end != 300 || committed(t, admin) != 200 {
				t.Errorf("records %d to %d, committed %d", start, end, committed(t, admin))
			}
			if got := consume(t, s, 0, kgo.NewOffset().At(200), 100); len(got) != 100 {
				t.Errorf("%d records after the committed offset", len(got))
			}
		})
	}
}

// TestNoSocket: the broker cannot be reached but through memory, and makes no topic unasked.
func TestNoSocket(t *testing.T) {
	s := mustStart(t, Config{Dir: t.TempDir()})
	if conn, err := net.DialTimeout("tcp", s.Brokers()[0], time.Second); err == nil {
		// Another broker may run on this machine; ours is not it.
		client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers()...))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if meta, err := kadm.NewClient(client).BrokerMetadata(t.Context()); err == nil && meta.Cluster == "trawl" {
			t.Error("the broker listens on the network")
		}
		conn.Close()
	}
	client, _ := mustClient(t, s, kgo.UnknownTopicRetries(0), kgo.AllowAutoTopicCreation())
	err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "never.made", Value: []byte("v")}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("a record to an unknown topic: %v", err)
	}
}

// TestKill kills a process that produces and commits: what was acknowledged is there.
func TestKill(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	child := crashtest.Start(t, "produce", dir)
	for range 1000 {
		child.Await("produced")
	}
	child.Kill()
	var log bytes.Buffer
	promised := 1000
	if last, ok := child.Rest("produced"); ok {
		promised, _ = strconv.Atoi(last)
	}
	s := mustStart(t, Config{Dir: dir, Log: &log})
	_, admin := mustClient(t, s)
	if got := committed(t, admin); got < int64(promised) {
		t.Errorf("%d promised, %d committed", promised, got)
	}
	for p := range int32(partitions) {
		n := (promised + partitions - int(p)) / partitions // the numbers up to promised that are p mod 4
		if p == 0 {
			n = promised / partitions
		}
		for i, got := range consume(t, s, p, kgo.NewOffset().AtStart(), n)[:n] {
			want := i*partitions + int(p)
			if p == 0 {
				want += partitions
			}
			if got != strconv.Itoa(want) {
				t.Fatalf("partition %d, offset %d: %s, want %d", p, i, got, want)
			}
		}
	}
	if log.Len() > 0 {
		t.Logf("the broker said: %s", log.String())
	}
}

// TestKillWhileTrimming: a broker that is killed goes on counting where it was, though all but the
// newest record is gone, so that no reader's offset lies beyond the end.
func TestKillWhileTrimming(t *testing.T) {
	dir := t.TempDir()
	child := crashtest.Start(t, "trim", dir)
	for range 500 {
		child.Await("trimmed")
	}
	child.Kill()
	promised := 500
	if last, ok := child.Rest("trimmed"); ok {
		promised, _ = strconv.Atoi(last)
	}
	s := mustStart(t, Config{Dir: dir})
	_, admin := mustClient(t, s)
	start, end := offsets(t, admin)
	if at := committed(t, admin); end < int64(promised) || at < int64(promised) || at > end || start < end-100 {
		t.Errorf("%d promised; records %d to %d, committed %d", promised, start, end, at)
	}
}

// TestCorrupt: a directory that cannot be read is an error that says what may be done.
func TestCorrupt(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Config{Dir: dir})
	if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "may be removed") {
		t.Errorf("%v, %v", s, err)
	}
	if err := os.Remove(filepath.Join(dir, "meta.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "meta.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Start(t.Context(), Config{Dir: dir}); fault.KindOf(err) != fault.Unavailable || strings.Contains(err.Error(), "removed") {
		t.Errorf("a file that cannot be read: %v, %v", s, err)
	}
}

// diskBytes returns the size of all files below dir.
func diskBytes(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
