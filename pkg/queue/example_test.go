package queue_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trawl-scanner/trawl/pkg/queue"
)

// A worker reads the shards that it owns, works, and commits what is done.
func ExampleReader() {
	broker := kfake.MustCluster(kfake.NumBrokers(1)) // in place of a real one
	defer broker.Close()
	conn := queue.Connection{Brokers: broker.ListenAddrs()}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := queue.EnsureTopics(ctx, conn, queue.Topics()); err != nil {
		fmt.Println(err)
		return
	}
	producer, err := queue.NewProducer(queue.ProducerConfig{Connection: conn})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close()
	err = producer.Produce(ctx, []queue.Message{{Topic: queue.TopicLayersNow, Partition: 14, Value: []byte("a job")}})
	if err != nil {
		fmt.Println(err)
		return
	}

	reader, err := queue.NewReader(queue.ReaderConfig{
		Connection: conn, Group: "trawl.workers", Now: queue.TopicLayersNow, Bulk: queue.TopicLayers,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = reader.Run(ctx) }()
	reader.Assign([]int{14, 15})
	record, err := reader.Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: %s\n", record.Lane, record.Value)
	reader.Done(record)
	fmt.Println(reader.Commit(ctx))
	// Output:
	// now: a job
	// <nil>
}
