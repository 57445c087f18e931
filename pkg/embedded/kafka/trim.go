package kafka

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Trimmed says what [Server.Trim] removed.
type Trimmed struct {
	Records    int64
	Partitions int // those that lost any
}

// Trim removes the records that nobody will read: those that every group which has committed an offset
// in the partition has read, those older than the retention.ms of their topic, and of a partition that
// holds more than Config.PartitionBytes the oldest. The newest record of a partition always stays. It
// runs by itself once every Config.TrimEvery; callers may run it at any time.
//
// A group that reads a partition and has not yet committed anything there is not known, and does not
// hold its records; it begins at the oldest that is left.
func (s *Server) Trim(ctx context.Context) (Trimmed, error) {
	trimmed, err := s.trim(ctx)
	return trimmed, fault.Wrap("trim kafka in", s.config.Dir, err)
}

func (s *Server) trim(ctx context.Context) (Trimmed, error) {
	extents, err := s.extents(ctx)
	if err != nil {
		return Trimmed{}, err
	}
	var trimmed Trimmed
	var cuts kadm.Offsets
	for topic, partitions := range extents {
		for partition, e := range partitions {
			cut := e.cut(s.config.PartitionBytes)
			if cut <= e.start {
				continue
			}
			cuts.AddOffset(topic, partition, cut, -1)
			trimmed.Records += cut - e.start
			trimmed.Partitions++
		}
	}
	if len(cuts) == 0 {
		return Trimmed{}, nil
	}
	responses, err := s.admin.DeleteRecords(ctx, cuts)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		return Trimmed{}, err
	}
	return trimmed, nil
}

// extent is what is known of a partition: records start to end-1 are there.
type extent struct {
	start, end int64
	bytes      int64
	read       int64 // every group that committed here has read what is before this; -1: no group has
	aged       int64 // what is before this is older than it need be kept; -1: nothing ages
}

// cut returns the offset before which records are removed. The newest record stays: it is how the
// broker, which finds out by reading, knows after a kill where to go on counting.
func (e extent) cut(maxBytes int64) int64 {
	cut := max(e.start, e.read, e.aged)
	if over := e.bytes - maxBytes; over > 0 {
		// Records are taken to be of one size: what is left over goes the next time.
		share := float64(over) / float64(e.bytes)
		cut = max(cut, e.start+1+int64(share*float64(e.end-e.start)))
	}
	return max(e.start, min(cut, e.end-1))
}

// extents asks the broker about all partitions.
func (s *Server) extents(ctx context.Context) (map[string]map[int32]*extent, error) {
	starts, err := s.admin.ListStartOffsets(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := s.admin.ListEndOffsets(ctx)
	if err != nil {
		return nil, err
	}
	extents := map[string]map[int32]*extent{}
	starts.Each(func(start kadm.ListedOffset) {
		end, ok := ends.Lookup(start.Topic, start.Partition)
		if !ok || start.Err != nil || end.Err != nil || end.Offset-start.Offset < 2 {
			return // nothing to remove
		}
		if extents[start.Topic] == nil {
			extents[start.Topic] = map[int32]*extent{}
		}
		extents[start.Topic][start.Partition] = &extent{start: start.Offset, end: end.Offset, read: -1, aged: -1}
	})
	if len(extents) == 0 {
		return nil, nil
	}
	if err := s.addSizes(ctx, extents); err != nil {
		return nil, err
	}
	if err := s.addRead(ctx, extents); err != nil {
		return nil, err
	}
	return extents, s.addAged(ctx, extents)
}

func (s *Server) addSizes(ctx context.Context, extents map[string]map[int32]*extent) error {
	dirs, err := s.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return err
	}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if e := extents[p.Topic][p.Partition]; e != nil {
				e.bytes = p.Size
			}
		})
	})
	return nil
}

func (s *Server) addRead(ctx context.Context, extents map[string]map[int32]*extent) error {
	groups, err := s.admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	for _, group := range s.admin.FetchManyOffsets(ctx, groups.Groups()...) {
		if group.Err != nil {
			return group.Err
		}
		group.Fetched.Each(func(o kadm.OffsetResponse) {
			e := extents[o.Topic][o.Partition]
			switch {
			case e == nil || o.Err != nil || o.At < 0:
			case e.read < 0:
				e.read = o.At
			default:
				e.read = min(e.read, o.At)
			}
		})
	}
	return nil
}

func (s *Server) addAged(ctx context.Context, extents map[string]map[int32]*extent) error {
	topics := make([]string, 0, len(extents))
	for topic := range extents {
		topics = append(topics, topic)
	}
	configs, err := s.admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return err
	}
	for _, config := range configs {
		retention, ok := retentionOf(config)
		if !ok {
			continue
		}
		kept, err := s.admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-retention).UnixMilli(), config.Name)
		if err != nil {
			return err
		}
		kept.Each(func(o kadm.ListedOffset) {
			if e := extents[o.Topic][o.Partition]; e != nil && o.Err == nil {
				e.aged = o.Offset
			}
		})
	}
	return nil
}

// retentionOf returns how long a topic's records are to be kept, unless that is for ever.
func retentionOf(config kadm.ResourceConfig) (time.Duration, bool) {
	for _, c := range config.Configs {
		if c.Key != "retention.ms" || c.Value == nil {
			continue
		}
		ms, err := strconv.ParseInt(*c.Value, 10, 64)
		if err != nil || ms < 0 || ms > int64(100*365*24*time.Hour/time.Millisecond) {
			return 0, false
		}
		return time.Duration(ms) * time.Millisecond, true
	}
	return 0, false
}
