package coordinator

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// TestSlotsProperties holds, whatever comes and ends in which order: nothing is lost or handed out twice, no lane and no
// host holds more than its part, a slot does not stay empty while somebody may have it, and nothing is kept in the end.
func TestSlotsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSlots[int](rapid.IntRange(0, 40).Draw(t, "total"))
		var running []turn[int]
		state := make(map[int]string)
		to := func(item int, from, to string) {
			if state[item] != from {
				t.Fatalf("item %d is %q, and goes from %q to %q", item, state[item], from, to)
			}
			state[item] = to
		}
		end := func(i int, slow bool) {
			s.end(running[i], slow)
			to(running[i].item, "begun", "ended")
			running = append(running[:i], running[i+1:]...)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lane := rapid.SampledFrom(job.Lanes[:]).Draw(t, "lane")
				host := fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "host"))
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					item := len(state)
					to(item, "", "waiting")
					s.add(turn[int]{lane, host, item})
				}
			},
			"begin": func(*rapid.T) {
				for next, ok := s.begin(); ok; next, ok = s.begin() {
					to(next.item, "waiting", "begun")
					running = append(running, next)
				}
				checkFull(t, s)
			},
			"end": func(t *rapid.T) {
				if len(running) > 0 {
					end(rapid.IntRange(0, len(running)-1).Draw(t, "which"), rapid.Bool().Draw(t, "slow"))
				}
			},
			"send away": func(t *rapid.T) {
				lane := rapid.SampledFrom(job.Lanes[:]).Draw(t, "lane")
				for _, away := range s.sendAway(lane) {
					to(away.item, "waiting", "away")
				}
			},
			"": func(t *rapid.T) { checkCaps(t, s, running) },
		})
		for len(running) > 0 {
			end(0, false)
			for next, ok := s.begin(); ok; next, ok = s.begin() {
				to(next.item, "waiting", "begun")
				running = append(running, next)
			}
		}
		for next, ok := s.begin(); ok; next, ok = s.begin() {
			to(next.item, "waiting", "begun")
			running = append(running, next)
			end(0, false)
		}
		for item, is := range state {
			if is != "ended" && is != "away" {
				t.Errorf("item %d is %q in the end", item, is)
			}
		}
		if len(s.lanes[job.Now].hosts)+len(s.lanes[job.Bulk].hosts) > 0 {
			t.Errorf("hosts are kept in the end: %v", s.lanes)
		}
	})
}

func checkCaps(t *rapid.T, s *slots[int], running []turn[int]) {
	lanes, hosts := map[job.Lane]int{}, map[string]int{}
	for _, r := range running {
		lanes[r.lane]++
		if hosts[r.lane.String()+r.host]++; hosts[r.lane.String()+r.host] > s.hostCap(r.lane) {
			t.Fatalf("%d slots are held by one host in lane %v", hosts[r.lane.String()+r.host], r.lane)
		}
	}
	if len(running) > s.total || lanes[job.Bulk] > s.laneCap(job.Bulk) || s.laneCap(job.Bulk) >= s.total {
		t.Fatalf("of %d slots %v are held", s.total, lanes)
	}
}

// checkFull holds that whoever still waits cannot be helped.
func checkFull(t *rapid.T, s *slots[int]) {
	for _, lane := range job.Lanes {
		l := s.lanes[lane]
		for _, w := range l.waiting {
			if s.held() < s.total && l.held < s.laneCap(lane) && l.hosts[w.host].held < s.hostCap(lane) {
				t.Fatalf("item %d waits, and nothing is in its way", w.item)
			}
		}
	}
}

// TestSlotsAreShared shows who gets what, of 32.
func TestSlotsAreShared(t *testing.T) {
	s := newSlots[int](32)
	ask := func(lane job.Lane, host string, n int) {
		for range n {
			s.add(turn[int]{lane: lane, host: host})
		}
	}
	got := func() map[string]int {
		n := make(map[string]int)
		for next, ok := s.begin(); ok; next, ok = s.begin() {
			n[next.host]++
		}
		return n
	}
	for _, c := range []struct {
		name string
		lane job.Lane
		host string
		want int
	}{
		{"a host that hangs, in a crawl", job.Bulk, "a", 12},
		{"another", job.Bulk, "b", 12},
		{"nothing is left for crawls", job.Bulk, "c", 0},
		{"people go on, one host having what is left", job.Now, "a", 8},
	} {
		if ask(c.lane, c.host, 200); got()[c.host] != 0 && s.lanes[c.lane].hosts[c.host].held != c.want {
			t.Errorf("%s: %d slots, want %d", c.name, s.lanes[c.lane].hosts[c.host].held, c.want)
		}
	}
	for range 3 { // whoever has least is next, however long the others have waited
		s.end(turn[int]{lane: job.Bulk, host: "a"}, true)
	}
	if s.held() != 29 {
		t.Fatalf("%d slots are held", s.held())
	}
	ask(job.Now, "d", 1)
	if next, _ := s.begin(); next.host != "d" {
		t.Errorf("of people, %q is next", next.host)
	}
	s.lanes[job.Now].waiting = nil
	if next, _ := s.begin(); next.host != "c" {
		t.Errorf("of crawls, %q is next", next.host)
	}
	if away := s.sendAway(job.Bulk); len(away) != 200-12 || away[0].host != "a" {
		t.Errorf("%d are sent away, want those who wait for a host that is slow", len(away))
	}
}
