package queue

import (
	"testing"

	"pgregory.net/rapid"
)

// TestProgress compares with the slow definition: the watermark is the lowest offset that was handed out and not
// done, or the one after all that were handed out.
func TestProgress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p progress
		p.start(position{rapid.Int64Range(-1, 5).Draw(t, "committed"), 3})
		if p.uncommitted() {
			t.Fatalf("there is something to commit before anything was handed out: %+v", p)
		}
		type state struct{ out, done bool }
		model := map[int64]state{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "hand out") {
				// Offsets have gaps where a log was compacted or a transaction ended.
				offset := p.next + rapid.SampledFrom([]int64{0, 0, 0, 1, 7}).Draw(t, "gap")
				p.handOut(offset, 4)
				model[offset] = state{out: true}
				continue
			}
			offset := rapid.Int64Range(0, p.next+1).Draw(t, "done")
			s := model[offset]
			if got, want := p.done(offset), s.out && !s.done; got != want {
				t.Fatalf("done(%d) = %v, want %v", offset, got, want)
			}
			if s.out {
				model[offset] = state{out: true, done: true}
			}
		}
		want := p.next
		for offset, s := range model {
			if !s.done {
				want = min(want, offset)
			}
		}
		if got := p.watermark(); got != want {
			t.Errorf("watermark %d, want %d", got, want)
		}
		if p.uncommitted() != (p.known && want != p.committed) {
			t.Errorf("uncommitted %v with watermark %d and %d committed", p.uncommitted(), want, p.committed)
		}
	})
}
