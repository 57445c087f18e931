package queue

import "slices"

// backlog holds what was fetched of one lane and not handed out yet, in the order in which it came. It is a
// pure value without a lock.
type backlog struct {
	maxRecords int
	maxBytes   int64

	records []*fetched
	bytes   int64
}

// fetched is a record in a backlog.
type fetched struct {
	record    Record
	partition *partition
	epoch     int32 // of the leader that the record was read from
	bytes     int64
}

// room returns how many records may be added. The bound in bytes is soft: below it, one more fetch fits.
func (b *backlog) room() int {
	if b.bytes >= b.maxBytes {
		return 0
	}
	return max(0, b.maxRecords-len(b.records))
}

func (b *backlog) push(f *fetched) {
	b.records = append(b.records, f)
	b.bytes += f.bytes
}

// pop returns the oldest record, or nil.
func (b *backlog) pop() *fetched {
	if len(b.records) == 0 {
		return nil
	}
	f := b.records[0]
	b.records[0] = nil
	b.records = b.records[1:]
	b.bytes -= f.bytes
	return f
}

// drop removes the records of the partitions that out tells.
func (b *backlog) drop(out func(*partition) bool) {
	b.records = slices.DeleteFunc(b.records, func(f *fetched) bool {
		if out(f.partition) {
			b.bytes -= f.bytes
			return true
		}
		return false
	})
}
