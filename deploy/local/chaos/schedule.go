package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// Act is what is done to a member.
type Act string

// The acts. Each is undone after a while.
const (
	Kill  Act = "kill"  // SIGKILL; later it is started again
	Pause Act = "pause" // SIGSTOP; later SIGCONT
	Cut   Act = "cut"   // from etcd alone; see [local.Cluster.Cut]
)

// Leader stands for whichever coordinator leads at the time of the blow.
const Leader = "leader"

// Blow is one thing that happens to one member.
type Blow struct {
	At     time.Duration // from the start
	For    time.Duration // until it is undone
	Act    Act
	Target string // a member, or Leader
}

// String says what happens, for a log.
func (b Blow) String() string {
	return fmt.Sprintf("%6.1f s  %s %s for %.1f s", b.At.Seconds(), b.Act, b.Target, b.For.Seconds())
}

// kind is an act upon one of some members that are alike.
type kind struct {
	targets []string
	act     Act
	longest time.Duration
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

// kinds are all that can happen to a cluster whose roles have these names. The registry is not killed: it belongs to others,
// and who cannot reach it gives up after some attempts, which is right.
func kinds(coordinators, workers, updaters, apis []string) []kind {
	out := []kind{
		{[]string{Leader}, Kill, longestKill}, {[]string{Leader}, Pause, longestPause}, {[]string{Leader}, Cut, longestPause},
		{coordinators, Kill, longestKill},
		{workers, Kill, longestKill}, {workers, Kill, longestKill}, {workers, Pause, longestPause}, {workers, Cut, longestPause},
		{updaters, Kill, longestKill}, {updaters, Pause, longestPause},
		{apis, Kill, longestKill}, {apis, Pause, longestPause},
		{[]string{local.Registry}, Pause, longestOutage},
	}
	for _, server := range []string{local.Kafka, local.Etcd, local.Postgres} {
		out = append(out, kind{[]string{server}, Kill, longestOutage}, kind{[]string{server}, Pause, longestOutage})
	}
	return slices.DeleteFunc(out, func(k kind) bool { return len(k.targets) == 0 })
}

// Blows come with a pause of up to twice meanGap between them, and a member has calm between one and the next.
const (
	meanGap = 2500 * time.Millisecond
	calm    = 2 * time.Second
)

// plan makes a schedule: blows of all kinds in an order by chance, then again in another. All are undone by the end. The
// same seed and the same arguments make the same schedule.
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
		k := deck[0]
		deck = deck[1:]
		lasts := shortestBlow + time.Duration(r.Int64N(int64(k.longest)))
		target := k.targets[r.IntN(len(k.targets))]
		at = max(at, busy[target])
		if at+lasts > duration {
			break
		}
		busy[target] = at + lasts + calm
		out = append(out, Blow{At: at, For: lasts, Act: k.act, Target: target})
	}
	slices.SortStableFunc(out, func(a, b Blow) int { return cmp.Compare(a.At, b.At) })
	return out
}
