package worker

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/job"
)

func aTask(lane job.Lane, host string, attempt int) task {
	return task{layer: job.Layer{Lane: lane, Repositories: []string{host + "/app"}, Attempt: attempt}}
}

// TestSchedule holds what a schedule promises, whatever comes and ends in whatever order.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 9).Draw(t, "slots")
		s := newSchedule(slots)
		var running []task
		added, begun := 0, map[int]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lane := rapid.SampledFrom(job.Lanes[:]).Draw(t, "lane")
				host := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "host")
				added++
				s.add([]task{aTask(lane, host, added)})
			},
			"end": func(t *rapid.T) {
				if len(running) == 0 {
					t.Skip("nothing runs")
				}
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				s.end(running[i])
				running = append(running[:i], running[i+1:]...)
			},
			"begin": func(t *rapid.T) {
				var waited [len(job.Lanes)][]task
				for lane := range waited {
					waited[lane] = slices.Clone(s.waiting[lane])
				}
				inBulk, ofHost := 0, map[string]int{}
				for _, r := range running {
					ofHost[hostOf(r)]++
					if r.layer.Lane == job.Bulk {
						inBulk++
					}
				}
				begin, ok := s.begin()
				if !ok {
					if len(waited[job.Now]) > 0 && (len(running) < slots || inBulk > 0 && len(running) == slots) {
						t.Fatal("somebody waits for a task, and it is not begun")
					}
					if len(waited[job.Bulk]) > 0 && len(running) < slots {
						t.Fatal("a slot is free, and nothing is begun")
					}
					return
				}
				if begun[begin.layer.Attempt] {
					t.Fatal("a task is begun twice")
				}
				begun[begin.layer.Attempt] = true
				running = append(running, begin)
				if begin.layer.Lane == job.Bulk && len(waited[job.Now]) > 0 {
					t.Fatal("a task of a crawl is begun before one that somebody waits for")
				}
				if most := slots + 1; len(running) > most || begin.layer.Lane == job.Bulk && len(running) > slots {
					t.Fatalf("%d tasks run in %d slots", len(running), slots)
				}
				for _, older := range waited[begin.layer.Lane] {
					if older.layer.Attempt < begin.layer.Attempt && ofHost[hostOf(older)] < s.share() {
						t.Fatal("an older task of a host that may go on is left waiting")
					}
				}
				if ofHost[hostOf(begin)] >= s.share() {
					for _, other := range waited[begin.layer.Lane] {
						if ofHost[hostOf(other)] < s.share() {
							t.Fatal("a host takes more than its share while another waits")
						}
					}
				}
			},
		})
		if waiting := len(s.waiting[job.Now]) + len(s.waiting[job.Bulk]); waiting+len(begun) != added {
			t.Fatalf("of %d tasks %d wait and %d were begun", added, waiting, len(begun))
		}
	})
}

// TestScheduleStalled holds that a crawl of a host that stalls leaves slots to others.
func TestScheduleStalled(t *testing.T) {
	s := newSchedule(8)
	for i := range laneSize {
		if !s.hasRoom(job.Bulk) || !s.hasRoom(job.Now) {
			t.Fatalf("no room after %d", i)
		}
		host := "stalls"
		if i%10 == 9 {
			host = "works"
		}
		s.add([]task{aTask(job.Bulk, host, 0)})
	}
	if s.hasRoom(job.Bulk) || !s.hasRoom(job.Now) {
		t.Error("a full lane has room, or leaves none to the other")
	}
	var order string
	for begun, ok := s.begin(); ok; begun, ok = s.begin() {
		order += fmt.Sprintf("%.1s", hostOf(begun))
	}
	if want := "ssssssww"; order != want {
		t.Errorf("begun: %s, want %s", order, want)
	}
}
