package queue

import (
	"time"
)

// partition is one partition of one lane, from Assign to the end of Release. Reader.mu guards it.
type partition struct {
	lane   *lane
	number int
	wanted bool // false while it drains
	// turn counts the fetches begun: it is raised whenever fetching has to begin anew at progress.next. What
	// a fetch of an earlier turn still brings is dropped.
	turn    int
	located bool // whether the offset committed for the group was asked for
	// progress is replaced when the log begins anew below what was handed out; see [lane.keep].
	progress *progress
	fetched  int64 // the record of this offset or of the first after it is the next to come, in this turn

	committedAt time.Time     // when the watermark was sent last; zero for never
	idle        chan struct{} // closed when the partition drains with nothing in hand, or is wanted again; nil before it first drains
}

func newPartition(l *lane, number int) *partition {
	return &partition{lane: l, number: number, wanted: true, turn: 1, progress: &progress{committed: -1, epoch: -1}}
}

// want says whether the partition is read.
func (p *partition) want(wanted bool) {
	if p.wanted == wanted {
		return
	}
	p.wanted = wanted
	if wanted {
		p.turn++
	} else {
		p.idle = make(chan struct{})
	}
	p.checkIdle()
}

// checkIdle closes idle when there is nothing to wait for any more.
func (p *partition) checkIdle() {
	if p.idle == nil || !p.wanted && len(p.progress.inHand) > 0 {
		return
	}
	select {
	case <-p.idle:
	default:
		close(p.idle)
	}
}

// restart forgets the position: the log is another one than before.
func (p *partition) restart() {
	p.turn++
	p.located = false
	p.progress = &progress{committed: -1, epoch: -1}
	p.checkIdle()
}
