package queue

import "slices"

// progress is how far one partition has come: what was handed out, and below which offset all is done.
// It is a pure value without a lock. The zero value has handed out nothing and knows no position.
type progress struct {
	known  bool    // whether next means anything
	next   int64   // the record of this offset, or of the first after it, is the next to hand out
	epoch  int32   // leader epoch of the record handed out last, -1 for none: lets brokers notice a log that was cut
	inHand []int64 // offsets handed out and not done, ascending

	committed int64 // the watermark that Kafka keeps, -1 for none
}

// start sets the position before anything was handed out, to what Kafka keeps.
func (p *progress) start(kept position) {
	*p = progress{known: kept.offset >= 0, next: max(0, kept.offset), epoch: kept.epoch, committed: kept.offset}
}

// handOut takes note of a record that goes to the consumer. It must not lie below p.next.
func (p *progress) handOut(offset int64, epoch int32) {
	p.known, p.next, p.epoch = true, offset+1, epoch
	p.inHand = append(p.inHand, offset)
}

// done takes note that a record was processed. It reports whether it was in hand, which it is once.
func (p *progress) done(offset int64) bool {
	i, found := slices.BinarySearch(p.inHand, offset)
	if found {
		p.inHand = slices.Delete(p.inHand, i, i+1)
	}
	return found
}

// watermark returns the offset below which all records are done.
func (p *progress) watermark() int64 {
	if len(p.inHand) > 0 {
		return p.inHand[0]
	}
	return p.next
}

// uncommitted reports whether Kafka keeps another watermark than there is.
func (p *progress) uncommitted() bool { return p.known && p.watermark() != p.committed }
