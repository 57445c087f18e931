package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// restartStalled begins anew to fetch the partitions that have stalled: they had more to fetch twice in a row, a while
// apart, and nothing came, although there was room for it. That should not be, and was seen once in thousands of runs in which
// partitions moved from broker to broker while they moved from reader to reader (see TestChaos). A job that is never read is the
// one thing that a queue must not do, so this does not rest on the client alone.
func (l *lane) restartStalled(ctx context.Context) {
	if time.Since(l.checked) < stallCheck {
		return
	}
	l.checked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	starts, err := l.reader.admin.ListStartOffsets(ctx, l.topic)
	var ends kadm.ListedOffsets
	if err == nil {
		ends, err = l.reader.admin.ListEndOffsets(ctx, l.topic)
	}
	if err != nil {
		return // the way to the brokers is troubled, which Healthy tells
	}
	l.reader.mu.Lock()
	defer l.reader.mu.Unlock()
	before := l.behind
	l.behind = make(map[int]int64)
	if l.backlog.room() == 0 {
		return
	}
	for n, t := range l.fetching {
		p := t.partition
		start, okStart := starts.Lookup(l.topic, int32(n))
		end, okEnd := ends.Lookup(l.topic, int32(n))
		if !okStart || !okEnd || start.Err != nil || end.Err != nil || end.Offset <= max(start.Offset, p.fetched) {
			continue
		}
		if at, was := before[n]; !was || at != p.fetched {
			l.behind[n] = p.fetched
			continue
		}
		l.backlog.drop(func(other *partition) bool { return other == p })
		p.turn++
		l.reader.health.complain(partitionName(l.topic, int32(n)),
			fmt.Errorf("nothing came from offset %d on for %v, though the log reaches to %d: fetching begins anew", p.fetched, stallCheck, end.Offset))
	}
}
