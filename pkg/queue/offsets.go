package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The two requests about offsets are made here and not by package kadm, because that takes an answer that
// leaves partitions out for "nothing is committed", and a topic that cannot be looked up during an outage for one that
// does not exist. Here each partition asked for must be answered.

// errNoAnswer says that a broker left out what it was asked.
var errNoAnswer = errors.New("the broker's answer leaves it out")

// position is an offset kept for a group, with the epoch of the leader that the record before it was read from, or -1.
type position struct {
	offset int64
	epoch  int32
}

// committedOffsets returns what is kept for each of the partitions; an offset of -1 says that there is nothing.
func committedOffsets(ctx context.Context, client *kgo.Client, group string, topic kadm.TopicDetail, numbers []int32) (map[int32]position, error) {
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.TopicID, t.Partitions = topic.Topic, topic.ID, numbers
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, append(g.Topics, t)
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Groups = append(request.Groups, g)
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	positions := make(map[int32]position, len(numbers))
	if err == nil {
		err = readPositions(response, positions)
	}
	switch {
	case errors.Is(err, kerr.GroupIDNotFound): // nobody has committed anything yet
		for _, n := range numbers {
			positions[n] = position{-1, -1}
		}
	case err != nil:
		return nil, err
	}
	for _, n := range numbers {
		if _, ok := positions[n]; !ok {
			return nil, fmt.Errorf("partition %d: %w", n, errNoAnswer)
		}
	}
	return positions, nil
}

func readPositions(response *kmsg.OffsetFetchResponse, positions map[int32]position) error {
	for _, g := range response.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("partition %d: %w", p.Partition, err)
				}
				positions[p.Partition] = position{p.Offset, p.LeaderEpoch}
			}
		}
	}
	return nil
}

// commitOffsets sends watermarks. It returns the error of each that was not taken.
func commitOffsets(ctx context.Context, client *kgo.Client, group string, marks []mark) (map[*partition]error, error) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = group
	lanes := make(map[*lane]int) // where its topic stands in the request
	for _, m := range marks {
		at, ok := lanes[m.partition.lane]
		if !ok {
			at = len(request.Topics)
			lanes[m.partition.lane] = at
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = m.partition.lane.topic, m.topicID
			request.Topics = append(request.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = int32(m.partition.number), m.offset, m.epoch
		request.Topics[at].Partitions = append(request.Topics[at].Partitions, p)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	failed := make(map[*partition]error)
	for _, m := range marks {
		failed[m.partition] = errNoAnswer
		for _, t := range response.Topics {
			if t.Topic != m.partition.lane.topic && (t.Topic != "" || t.TopicID != m.topicID) {
				continue
			}
			for _, p := range t.Partitions {
				if int(p.Partition) == m.partition.number {
					failed[m.partition] = kerr.ErrorForCode(p.ErrorCode)
				}
			}
		}
		if failed[m.partition] == nil {
			delete(failed, m.partition)
		}
	}
	return failed, nil
}
