package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// Act is what is done to a member.
type Act string

// The acts. Each is undone after a while, at times by a kill and a new start.
const (
	Kill  Act = "kill"  // SIGKILL; later it is started again
	Pause Act = "pause" // SIGSTOP; later SIGCONT
	Cut   Act = "cut"   // from something; see [local.Cluster.Cut]
)

// Leader stands for whichever coordinator leads at the time of the blow.
const Leader = "leader"

// Blow is one thing that happens to one member.
type Blow struct {
	At     time.Duration // from the start
	For    time.Duration // until it is undone
	Act    Act
	Target string // a member, or Leader
	From   string // what a cut cuts it off from
	Fatal  bool   // whether who was paused or cut off with its hands full is killed at the end, and started again
}

// Kind says what happens to whom alike, for those who count.
func (b Blow) Kind() string {
	return fmt.Sprint(b.Act, " ", strings.TrimRight(b.Target, "-0123456789"), b.from(), b.end())
}

func (b Blow) end() string {
	if b.Fatal {
		return ", then kill"
	}
	return ""
}

func (b Blow) from() string {
	if b.From == "" {
		return ""
	}
	return " from " + b.From
}

// String says what happens, for a log.
func (b Blow) String() string {
	return fmt.Sprintf("%6.1f s  %s %s%s for %.1f s%s", b.At.Seconds(), b.Act, b.Target, b.from(), b.For.Seconds(), b.end())
}

// kind is an act upon one of some members that are alike.
type kind struct {
	targets []string
	act     Act
	longest time.Duration
	from    []string // what a cut may cut them off from
}

// Leases in etcd last for 5 s where somebody leads, for 8 s where somebody holds shards, and for 15 s where somebody runs a
// source, and a member is given up after 5 to 12 s. Roles are away for longer and shorter times than these. A broker ends
// the session of one that was killed after 5 s.
const (
	longestKill   = 8 * time.Second
	longestOutage = 6 * time.Second // of a server: meanwhile nobody does anything
	longestPause  = 14 * time.Second
	shortestBlow  = 200 * time.Millisecond
)

// kinds are all that can happen to a cluster whose roles have these names.
func kinds(coordinators, workers, updaters, apis []string) []kind {
	leader, registry := []string{Leader}, []string{local.Registry}
	out := []kind{
		{leader, Kill, longestKill, nil}, {leader, Pause, longestPause, nil}, {coordinators, Kill, longestKill, nil},
		{workers, Kill, longestKill, nil}, {workers, Kill, longestKill, nil}, {workers, Pause, longestPause, nil},
		{updaters, Kill, longestKill, nil}, {updaters, Pause, longestPause, nil},
		{updaters, Cut, longestPause, []string{local.Etcd, local.Kafka, local.Postgres, local.Everything}},
		{apis, Kill, longestKill, nil}, {apis, Pause, longestPause, nil},
		{apis, Cut, longestPause, []string{local.Etcd, local.Kafka, local.Postgres, local.Everything}},
		{registry, Kill, longestOutage, nil}, {registry, Pause, longestOutage, nil},
		{registry, Cut, longestOutage, []string{local.Everything}},
	}
	for _, from := range []string{local.Etcd, local.Kafka, local.Postgres, local.Gossip, local.Everything} {
		out = append(out, kind{leader, Cut, longestPause, []string{from}}, kind{workers, Cut, longestPause, []string{from}})
	}
	for _, server := range []string{local.Kafka, local.Etcd, local.Postgres} {
		out = append(out, kind{[]string{server}, Kill, longestOutage, nil}, kind{[]string{server}, Pause, longestOutage, nil})
	}
	return slices.DeleteFunc(out, func(k kind) bool { return len(k.targets) == 0 })
}

// Blows come with a pause of up to twice meanGap between them, and a member has calm between one and the next.
const (
	meanGap = 2500 * time.Millisecond
	calm    = 2 * time.Second
)

// plan makes a schedule: blows of all kinds in an order by chance, then again in another, but for those that have to wait
// until a member has calm. All are undone by the end. The same seed and the same arguments make the same schedule.
func plan(seed uint64, duration time.Duration, all []kind) []Blow {
	r := rand.New(rand.NewPCG(seed, 0))
	var out []Blow
	busy := make(map[string]time.Duration) // until when
	var deck []kind
	for at := time.Duration(0); ; {
		at += time.Duration(r.Int64N(int64(2 * meanGap)))
		if len(deck) == 0 {
			deck = slices.Clone(all)
			r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		i := max(0, slices.IndexFunc(deck, func(k kind) bool { return busy[k.first(busy)] <= at }))
		k := deck[i]
		deck = slices.Delete(deck, i, i+1)
		b := Blow{Act: k.act, For: shortestBlow + time.Duration(r.Int64N(int64(k.longest))), Target: k.targets[r.IntN(len(k.targets))]}
		if len(k.from) > 0 {
			b.From = k.from[r.IntN(len(k.from))]
		}
		b.Fatal = b.Act != Kill && r.IntN(2) == 0
		if busy[b.Target] > at {
			b.Target = k.first(busy)
		}
		at = max(at, busy[b.Target])
		if b.At = at; at+b.For > duration {
			break
		}
		busy[b.Target] = at + b.For + calm
		out = append(out, b)
	}
	return out
}

// first returns the target that has calm first.
func (k kind) first(busy map[string]time.Duration) string {
	return slices.MinFunc(k.targets, func(a, b string) int { return cmp.Compare(busy[a], busy[b]) })
}
