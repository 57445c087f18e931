package coordinator

import (
	"slices"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// laneSize is how many items of one lane wait for a slot, about: a lane with as many has no room, and Kafka keeps the rest.
const laneSize = 512

// slots decides which registry is asked next, and how much may be asked at once. It is a value without a clock or a lock,
// for one goroutine. Registries are strangers, and some do not answer; so nobody may hold all there is:
//
//   - [job.Bulk] holds three quarters of the slots at most. What people wait for goes before it.
//   - One host holds at most three eighths of the slots in [job.Bulk], and half of them in [job.Now].
//   - Within a lane the host that holds the fewest slots goes first, then the oldest item.
//   - The lanes wait in lists of their own. One that is full does not keep the other from being read. Those who wait for a
//     host that is slow can be sent away, so that a flood of them does not keep others from the list.
type slots[T any] struct {
	total int
	lanes [len(job.Lanes)]laneSlots[T]
}

// laneSlots is one lane's part.
type laneSlots[T any] struct {
	waiting []turn[T] // the oldest first
	held    int
	hosts   map[string]*hostSlots // those that hold slots or are waited for
}

// hostSlots is one host's part in a lane.
type hostSlots struct {
	held, waiting int
	slow          bool // as it was when a slot was given back last
}

// turn is an item that waits for a slot, or holds one.
type turn[T any] struct {
	lane job.Lane
	host string // "" is this machine
	item T
}

// newSlots returns so many slots, two at least: one that crawls cannot take.
func newSlots[T any](total int) *slots[T] {
	s := &slots[T]{total: max(2, total)}
	for i := range s.lanes {
		s.lanes[i].hosts = make(map[string]*hostSlots)
	}
	return s
}

// laneCap returns how many slots a lane may hold, and hostCap how many one host in it.
func (s *slots[T]) laneCap(lane job.Lane) int {
	if lane == job.Now {
		return s.total
	}
	return s.total * 3 / 4
}

func (s *slots[T]) hostCap(lane job.Lane) int {
	if lane == job.Now {
		return s.total / 2
	}
	return max(1, s.total*3/8)
}

// hasRoom reports whether more may be added to a lane.
func (s *slots[T]) hasRoom(lane job.Lane) bool { return len(s.lanes[lane].waiting) < laneSize }

// add has an item wait.
func (s *slots[T]) add(t turn[T]) {
	l := &s.lanes[t.lane]
	l.waiting = append(l.waiting, t)
	h := l.hosts[t.host]
	if h == nil {
		h = &hostSlots{}
		l.hosts[t.host] = h
	}
	h.waiting++
}

// begin gives a slot to the item whose turn it is, if there is one. It is held until end is called with it.
func (s *slots[T]) begin() (turn[T], bool) {
	for _, lane := range job.Lanes {
		l := &s.lanes[lane]
		if l.held >= s.laneCap(lane) || s.held() >= s.total {
			continue
		}
		next, fewest := -1, s.hostCap(lane)
		for i, t := range l.waiting {
			if held := l.hosts[t.host].held; held < fewest {
				next, fewest = i, held
			}
		}
		if next < 0 {
			continue
		}
		t := l.waiting[next]
		l.waiting = slices.Delete(l.waiting, next, next+1)
		l.held++
		h := l.hosts[t.host]
		h.waiting--
		h.held++
		return t, true
	}
	return turn[T]{}, false
}

func (s *slots[T]) held() (n int) {
	for i := range s.lanes {
		n += s.lanes[i].held
	}
	return n
}

// end takes the slot back. slow says that its host has held it for long.
func (s *slots[T]) end(t turn[T], slow bool) {
	l := &s.lanes[t.lane]
	l.held--
	h := l.hosts[t.host]
	h.held--
	h.slow = slow
	l.forget(t.host)
}

// sendAway removes from a lane those who wait for hosts that are slow, and returns them.
func (s *slots[T]) sendAway(lane job.Lane) (away []turn[T]) {
	l := &s.lanes[lane]
	l.waiting = slices.DeleteFunc(l.waiting, func(t turn[T]) bool {
		if !l.hosts[t.host].slow {
			return false
		}
		away = append(away, t)
		return true
	})
	for _, t := range away {
		l.hosts[t.host].waiting--
	}
	for _, t := range away {
		l.forget(t.host)
	}
	return away
}

// forget forgets a host that holds nothing and is not waited for.
func (l *laneSlots[T]) forget(host string) {
	if h := l.hosts[host]; h != nil && h.held == 0 && h.waiting == 0 {
		delete(l.hosts, host)
	}
}
