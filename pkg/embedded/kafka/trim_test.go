package kafka

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		name string
		e    extent
		want int64
	}{
		{"nobody has read", extent{start: 5, end: 10, read: -1, aged: -1}, 5},
		{"read in part", extent{start: 5, end: 10, read: 7, aged: -1}, 7},
		{"read to the end: the last record stays", extent{start: 5, end: 10, read: 10, aged: -1}, 9},
		{"read beyond the end, as after a power loss", extent{start: 5, end: 10, read: 50, aged: -1}, 9},
		{"read below the start", extent{start: 5, end: 10, read: 3, aged: -1}, 5},
		{"aged, and read less", extent{start: 5, end: 10, read: 6, aged: 8}, 8},
		{"all aged", extent{start: 5, end: 10, read: -1, aged: 10}, 9},
		{"twice the size", extent{start: 0, end: 1000, bytes: 2000, read: -1, aged: -1}, 501},
		{"a little too large", extent{start: 0, end: 1000, bytes: 1001, read: -1, aged: -1}, 1},
		{"too large, and one record", extent{start: 7, end: 8, bytes: 5000, read: -1, aged: -1}, 7},
		{"empty", extent{start: 7, end: 7, read: 7, aged: 7}, 7},
	} {
		if got := c.e.cut(1000); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestCutLaws: never backwards, never the last record, and trimming again and again gets there.
func TestCutLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		e := extent{start: start, end: start + rapid.Int64Range(1, 1<<30).Draw(t, "records")}
		size := rapid.Int64Range(1, 1<<10).Draw(t, "size")
		most := rapid.Int64Range(size, 1<<41).Draw(t, "most")
		e.read = rapid.Int64Range(-1, 1<<41).Draw(t, "read")
		e.aged = rapid.Int64Range(-1, 1<<41).Draw(t, "aged")
		for range 3 {
			e.bytes = (e.end - e.start) * size
			cut := e.cut(most)
			if cut < e.start || cut >= e.end {
				t.Fatalf("%+v: cut at %d", e, cut)
			}
			e.start = cut
		}
		if bytes := (e.end - e.start) * size; bytes > most {
			t.Fatalf("%d bytes are left of at most %d", bytes, most)
		}
	})
}

// TestTrimRead: what every group has read goes, the offsets stay as they are, and a reader notices
// nothing. The broker counts on from there after a restart, also where everything was read.
func TestTrimRead(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	s := mustStart(t, Config{Dir: dir, TrimEvery: -1})
	client, admin := mustClient(t, s)
	createTopic(t, admin, nil)
	produce(t, client, 20_000, 200)
	full := diskBytes(t, dir)
	if trimmed, err := s.Trim(t.Context()); err != nil || trimmed != (Trimmed{}) {
		t.Errorf("with no group: %+v, %v", trimmed, err)
	}
	var slow kadm.Offsets
	slow.AddOffset(topic, 0, 15_000, -1)
	if err := admin.CommitAllOffsets(t.Context(), "slow", slow); err != nil {
		t.Fatal(err)
	}
	if err := commit(t.Context(), admin, 0, 20_000); err != nil {
		t.Fatal(err)
	}
	if trimmed, err := s.Trim(t.Context()); err != nil || trimmed != (Trimmed{15_000, 1}) {
		t.Errorf("with a slow group: %+v, %v", trimmed, err)
	}
	if _, err := admin.DeleteGroup(t.Context(), "slow"); err != nil {
		t.Fatal(err)
	}
	if trimmed, err := s.Trim(t.Context()); err != nil || trimmed != (Trimmed{4_999, 1}) {
		t.Errorf("without it: %+v, %v", trimmed, err)
	}
	if left := diskBytes(t, dir); left > segmentBytes+100<<10 {
		t.Errorf("%d bytes on disk, of %d before", left, full)
	}
	client.Close()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = mustStart(t, Config{Dir: dir, TrimEvery: -1})
	client, admin = mustClient(t, s)
	if _, end := offsets(t, admin); end != 20_000 || committed(t, admin) != 20_000 {
		t.Errorf("after a restart: end %d, committed %d", end, committed(t, admin))
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("next")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := consume(t, s, 0, kgo.NewOffset().At(20_000), 1); got[0] != "next" {
		t.Errorf("the reader goes on with %q", got)
	}
}

func TestTrimAged(t *testing.T) {
	s := mustStart(t, Config{Dir: t.TempDir(), TrimEvery: -1})
	client, admin := mustClient(t, s)
	createTopic(t, admin, map[string]*string{"retention.ms": kadm.StringPtr("3600000")})
	for i, age := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Minute, 0} {
		r := &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i)), Timestamp: time.Now().Add(-age)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if trimmed, err := s.Trim(t.Context()); err != nil || trimmed != (Trimmed{2, 1}) {
		t.Errorf("%+v, %v", trimmed, err)
	}
	if got := consume(t, s, 0, kgo.NewOffset().AtStart(), 2); got[0] != "2" {
		t.Errorf("left: %q", got)
	}
}

func TestTrimLarge(t *testing.T) {
	const most = 1 << 20
	dir := t.TempDir()
	s := mustStart(t, Config{Dir: dir, PartitionBytes: most, TrimEvery: -1})
	client, admin := mustClient(t, s, kgo.ProducerBatchCompression(kgo.NoCompression()))
	createTopic(t, admin, nil)
	for range 5 { // nobody reads
		produce(t, client, 20_000, 100)
		for range 2 {
			if _, err := s.Trim(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if bytes := diskBytes(t, dir); bytes > most+2*segmentBytes {
			t.Errorf("%d bytes on disk", bytes)
		}
	}
	start, end := offsets(t, admin)
	if end != 100_000 || end-start < 5_000 || end-start > 12_000 {
		t.Errorf("left: records %d to %d", start, end)
	}
}

// TestTrimsByItself waits for the broker to trim unasked.
func TestTrimsByItself(t *testing.T) {
	s := mustStart(t, Config{Dir: t.TempDir(), TrimEvery: time.Millisecond})
	client, admin := mustClient(t, s)
	createTopic(t, admin, nil)
	produce(t, client, 100, 10)
	if err := commit(t.Context(), admin, 0, 50); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if start, _ := offsets(t, admin); start == 50 {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("nothing is trimmed")
		}
	}
}

// BenchmarkLayers sends references of layers over 256 partitions and reads them, as a crawl does.
func BenchmarkLayers(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%t", sync), func(b *testing.B) { benchmarkLayers(b, Config{Dir: b.TempDir(), Sync: sync}) })
	}
}

func benchmarkLayers(b *testing.B, cfg Config) {
	s, err := Start(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop(context.Background())
	client, err := kgo.NewClient(append(s.ClientOpts(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeTopics(topic))...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(b.Context(), 256, 1, nil, topic); err != nil {
		b.Fatal(err)
	}
	const message = `{"v":1,"layer":"sha256:%064x","repository":"registry.example/library/image-%d","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"}`
	for i := 0; b.Loop(); i++ {
		value := fmt.Appendf(nil, message, i*7919, i%5000)
		b.SetBytes(int64(len(value)))
		client.Produce(b.Context(), &kgo.Record{Topic: topic, Partition: int32(i % 256), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for got := 0; got < b.N; {
		got += client.PollFetches(b.Context()).NumRecords()
	}
}
