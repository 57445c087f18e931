package worker

import (
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// laneSize is how many tasks of one lane wait for a slot, about: no more are taken while there are as many, and Kafka
// keeps the rest. The lanes are counted apart, so that a full one never keeps the other from being read.
const laneSize = 128

// schedule decides which layer is read next. It is a value without a clock or a lock, for one goroutine.
//
//   - A task for people who wait goes before all of a crawl.
//   - While any of a crawl is under way, there is one slot more for people: what they wait for does not wait for its
//     blobs, be they slow or stalled.
//   - Within a lane the oldest goes first, except that a registry which holds three quarters of the slots lets others go
//     before it. So one that stalls slows down nobody else, and one that is alone has all slots.
type schedule struct {
	slots   int
	waiting [len(job.Lanes)][]task // by lane, the oldest first
	running [len(job.Lanes)]int    // by lane
	hosts   map[string]int         // how many run, by host; without zeros
}

func newSchedule(slots int) *schedule { return &schedule{slots: slots, hosts: make(map[string]int)} }

// add has tasks wait.
func (s *schedule) add(tasks []task) {
	for _, t := range tasks {
		s.waiting[t.layer.Lane] = append(s.waiting[t.layer.Lane], t)
	}
}

// hasRoom reports whether more tasks of a lane may be added.
func (s *schedule) hasRoom(lane job.Lane) bool { return len(s.waiting[lane]) < laneSize }

// begin takes the task that is to be begun now, if there is one. It runs until end is called with it.
func (s *schedule) begin() (task, bool) {
	for _, lane := range job.Lanes {
		if len(s.waiting[lane]) == 0 || s.free(lane) == 0 {
			continue
		}
		i := max(0, slices.IndexFunc(s.waiting[lane], func(t task) bool { return s.hosts[hostOf(t)] < s.share() }))
		t := s.waiting[lane][i]
		s.waiting[lane] = slices.Delete(s.waiting[lane], i, i+1)
		s.running[lane]++
		s.hosts[hostOf(t)]++
		return t, true
	}
	return task{}, false
}

// end frees the slot of a task.
func (s *schedule) end(t task) {
	host := hostOf(t)
	s.running[t.layer.Lane]--
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
}

// free returns how many tasks of a lane may be begun.
func (s *schedule) free(lane job.Lane) int {
	slots := s.slots
	if lane == job.Now && s.running[job.Bulk] > 0 {
		slots++
	}
	return max(0, slots-s.running[job.Now]-s.running[job.Bulk])
}

// share is how many slots one host may hold while others wait.
func (s *schedule) share() int { return max(1, s.slots*3/4) }

// hostOf returns the host of the first repository of a layer, which is the one that is asked first.
func hostOf(t task) string {
	if len(t.layer.Repositories) == 0 {
		return ""
	}
	host, _, _ := strings.Cut(t.layer.Repositories[0], "/")
	return host
}
