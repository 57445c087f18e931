package queue

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

func TestTopicTable(t *testing.T) {
	partitions := map[string]int{}
	for _, topic := range Topics() {
		partitions[topic.Name] = topic.Partitions
		if topic.Retention < day || topic.MaxMessageBytes < job.MaxBytes {
			t.Errorf("%+v cannot carry jobs", topic)
		}
	}
	for _, lane := range job.Lanes {
		if n := partitions[LayersTopic(lane)]; n != LayerPartitions {
			t.Errorf("%s has %d partitions", LayersTopic(lane), n)
		}
		if n := partitions[ImagesTopic(lane)]; n != ImagePartitions {
			t.Errorf("%s has %d partitions", ImagesTopic(lane), n)
		}
	}
	if len(partitions) != 6 {
		t.Errorf("%d topics: %v", len(partitions), partitions)
	}
}

func TestEnsureTopics(t *testing.T) {
	onCluster(t, func(e *env) {
		mine := []Topic{{e.bulk + ".x", 5, 3 * day, 1 << 20}, {e.bulk + ".y", 1, day, 1 << 20}}
		admin, done := e.admin()
		defer done()
		defer func() {
			if _, err := admin.DeleteTopics(e.ctx, mine[0].Name, mine[1].Name); err != nil {
				e.Log(err)
			}
		}()

		// All at once, as when a cluster starts.
		var starters sync.WaitGroup
		for range 4 {
			starters.Go(func() {
				if err := EnsureTopics(e.ctx, e.conn, mine); err != nil {
					e.Error(err)
				}
			})
		}
		starters.Wait()
		if err := EnsureTopics(e.ctx, e.conn, mine); err != nil {
			e.Errorf("once more: %v", err)
		}

		configs, err := admin.DescribeTopicConfigs(e.ctx, mine[0].Name)
		if err != nil {
			e.Fatal(err)
		}
		for key, want := range map[string]string{
			"cleanup.policy": "delete", "retention.ms": "259200000", "compression.type": "producer", "max.message.bytes": "1048576",
		} {
			config, err := configs.On(mine[0].Name, nil)
			if err != nil {
				e.Fatal(err)
			}
			i := slices.IndexFunc(config.Configs, func(c kadm.Config) bool { return c.Key == key })
			if i < 0 || config.Configs[i].MaybeValue() != want {
				e.Errorf("%s: want %s, have %+v", key, want, config.Configs)
			}
		}

		mine[0].Partitions, mine[1].Partitions = 6, 2
		err = EnsureTopics(e.ctx, e.conn, mine)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), ".x has 5 partitions instead of 6") ||
			!strings.Contains(err.Error(), ".y has 1 partitions instead of 2") {
			e.Errorf("with wrong numbers of partitions: %v", err)
		}
	})
}

func TestReplication(t *testing.T) {
	inBubble(t, func(e *env) { // of three brokers
		admin, done := e.admin()
		defer done()
		topics, err := admin.ListTopics(e.ctx, e.bulk)
		if err != nil {
			e.Fatal(err)
		}
		if n := topics[e.bulk].Partitions.NumReplicas(); n != 3 {
			e.Errorf("%d replicas, want 3", n)
		}
	})
}

func TestEnsureTopicsWithoutBrokers(t *testing.T) {
	inBubble(t, func(e *env) {
		e.cable.set(true)
		defer e.cable.set(false)
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		defer cancel()
		if err := EnsureTopics(ctx, e.conn, e.topics()); fault.KindOf(err) != fault.Unavailable {
			e.Errorf("without brokers: %v, kind %v", err, fault.KindOf(err))
		}
	})
	if err := EnsureTopics(t.Context(), Connection{}, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("without any address: %v", err)
	}
	login := Connection{Brokers: []string{"x"}, Login: Login{Mechanism: "GSSAPI"}}
	if err := EnsureTopics(t.Context(), login, nil); fault.KindOf(err) != fault.Unsupported {
		t.Errorf("with an unknown login: %v", err)
	}
}
