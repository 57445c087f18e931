package queue

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// The groups under which the roles keep offsets.
const (
	GroupCoordinator = "trawl-coordinator"
	GroupWorkers     = "trawl-workers"
)

// Monitor tells how much there is to do, from outside: it reads nothing. Safe for concurrent use.
type Monitor struct {
	client *kgo.Client
	admin  *kadm.Client
}

// NewMonitor returns a monitor. It connects when first used. The caller closes it.
func NewMonitor(connection Connection) (*Monitor, error) {
	client, err := connection.client()
	if err != nil {
		return nil, err
	}
	return &Monitor{client: client, admin: kadm.NewClient(client)}, nil
}

// Close closes the connections.
func (m *Monitor) Close() { m.client.Close() }

// Lag returns how many records a group has not committed yet: of each lane the end of its log less the offset committed. So
// it counts what is in hand too. Where nothing is committed, it counts from the beginning of the log.
func (m *Monitor) Lag(ctx context.Context, group string, topic func(job.Lane) string) (Lag, error) {
	var lag Lag
	for _, lane := range job.Lanes {
		records, err := m.topicLag(ctx, group, topic(lane))
		if err != nil {
			return lag, wrap("measure lag of", topic(lane), err)
		}
		if lane == job.Now {
			lag.Now = records
		} else {
			lag.Bulk = records
		}
	}
	return lag, nil
}

func (m *Monitor) topicLag(ctx context.Context, group, topic string) (records int64, err error) {
	starts, ends, err := bounds(ctx, m.admin, topic)
	if err != nil {
		return 0, err
	}
	details, err := m.admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	var numbers []int32
	ends.Each(func(o kadm.ListedOffset) { numbers = append(numbers, o.Partition) })
	committed, err := committedOffsets(ctx, m.client, group, details[topic], numbers)
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		end, _ := ends.Lookup(topic, n)
		start, _ := starts.Lookup(topic, n)
		records += max(0, end.Offset-max(start.Offset, committed[n].offset))
	}
	return records, nil
}
