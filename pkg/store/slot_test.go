package store

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestShareSlots holds for any processes: no more is given away than there is, nobody gets more than they want, somebody is left with
// less than they want only where nobody has two more, and everybody has a turn.
func TestShareSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		rows := rapid.Custom(func(t *rapid.T) []slotRow {
			var rows []slotRow
			for n := range rapid.IntRange(1, 30).Draw(t, "processes") {
				use := SlotUse{"host", rapid.Bool().Draw(t, "blobs")}
				rows = append(rows, slotRow{SlotUse: use, holder: fmt.Sprint("p", n), wanted: rapid.IntRange(0, 20).Draw(t, "wanted")})
			}
			return rows
		}).Draw(t, "rows")
		served := make(map[slotKey]bool)
		first := rapid.Int64Range(0, 1<<40).Draw(t, "epoch")
		for epoch := first; epoch < first+int64(2*len(rows)); epoch++ {
			shares := shareSlots(withSlots(rows, slotRow{SlotUse: SlotUse{"host", true}, holder: "nobody"}), limit, epoch)
			total, blobs := 0, 0
			for _, r := range rows {
				mine := shares[slotKey{r.Blobs, r.holder}]
				total += mine
				if r.Blobs {
					blobs += mine
				}
				if mine > r.wanted {
					t.Fatalf("%v gets %d", r, mine)
				}
				served[slotKey{r.Blobs, r.holder}] = served[slotKey{r.Blobs, r.holder}] || mine > 0
				for _, other := range rows {
					if theirs := shares[slotKey{other.Blobs, other.holder}]; mine < r.wanted && theirs > mine+1 && r.Blobs == other.Blobs {
						t.Fatalf("%v gets %d, %v %d", r, mine, other, theirs)
					}
				}
			}
			if total > limit || blobs > blobSlots(limit) {
				t.Fatalf("%d given away, %d for blobs, of %d", total, blobs, limit)
			}
		}
		for _, r := range rows {
			if r.wanted > 0 && !served[slotKey{r.Blobs, r.holder}] {
				t.Fatalf("%v never has a turn", r)
			}
		}
	})
}

func TestLeaseSlots(t *testing.T) {
	s := openStore(t)
	manifests, blobs := SlotUse{"registry.example", false}, SlotUse{"registry.example", true}
	lease := func(holder string, ttl time.Duration, use SlotUse, keep, want, wantHeld, wantShare, wantRivals int) {
		t.Helper()
		got, err := s.LeaseSlots(t.Context(), holder, ttl, []SlotWish{{SlotUse: use, Limit: 8, Keep: keep, Want: want}})
		if err != nil || len(got) != 1 || got[0] != (SlotLease{use, wantHeld, wantShare, wantRivals}) {
			t.Errorf("%s: %+v (%v), want %d, a share of %d, and %d rivals", holder, got, err, wantHeld, wantShare, wantRivals)
		}
	}
	lease("a", time.Hour, blobs, 0, 100, 6, 6, 1)     // a quarter is not for blobs
	lease("b", time.Hour, manifests, 0, 1, 1, 1, 2)   // here it is
	lease("b", time.Hour, blobs, 0, 3, 0, 3, 3)       // a has more than its share
	lease("a", time.Hour, blobs, 4, 100, 4, 3, 3)     // gives back what it does not use
	lease("b", time.Hour, blobs, 0, 3, 2, 3, 3)       // and others get it
	lease("a", time.Hour, blobs, 3, 100, 3, 3, 3)     // the rest too
	lease("b", time.Hour, blobs, 2, 3, 3, 3, 3)       // half each
	lease("b", time.Hour, blobs, 0, 0, 0, 0, 3)       // is through
	lease("a", -time.Second, blobs, 3, 100, 6, 6, 2)  // gets all, and dies
	lease("c", time.Hour, manifests, 0, 100, 7, 7, 2) // nobody waits for who died
	lease("a", time.Hour, blobs, 6, 100, 0, 4, 3)     // and if it was not dead, it has nothing now
	got, err := s.LeaseSlots(t.Context(), "d", time.Hour, []SlotWish{
		{SlotUse: SlotUse{"other.example", true}, Limit: 1, Want: 1}, {SlotUse: SlotUse{"another.example", false}, Limit: 1, Want: 1},
	})
	if err != nil || len(got) != 2 || got[0].Held != 1 || got[1].Held != 1 {
		t.Errorf("two hosts: %+v (%v)", got, err)
	}
}
