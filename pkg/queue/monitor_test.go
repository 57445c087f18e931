package queue

import (
	"testing"

	"github.com/trawl-scanner/trawl/pkg/job"
)

func TestMonitor(t *testing.T) {
	onCluster(t, func(e *env) {
		m, err := NewMonitor(e.conn)
		if err != nil {
			e.Fatal(err)
		}
		defer m.Close()
		check := func(when string, want Lag) {
			e.Helper()
			got, err := m.Lag(e.ctx, e.group, func(lane job.Lane) string {
				if lane == job.Now {
					return e.now
				}
				return e.bulk
			})
			if err != nil || got != want {
				e.Errorf("%s: %+v (%v), want %+v", when, got, err, want)
			}
		}
		check("before anything is sent", Lag{})
		e.produce(e.now, "now", 5)
		e.produce(e.bulk, "bulk", 20)
		check("before anything is read", Lag{Now: 5, Bulk: 20})
		r := e.reader()
		r.Assign(all())
		var records []Record
		for range 25 {
			records = append(records, r.next())
		}
		check("in hand", Lag{Now: 5, Bulk: 20})
		for _, record := range records {
			if record.Lane == job.Now {
				r.Done(record)
			}
		}
		r.commit()
		check("one lane done", Lag{Bulk: 20})
	})
	if _, err := NewMonitor(Connection{}); err == nil {
		t.Error("a monitor of no brokers")
	}
}
