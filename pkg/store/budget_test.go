package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClockPutBack: a clock that is put back, as when another server takes over, does not keep anybody from drawing.
func TestClockPutBack(t *testing.T) {
	s := openStore(t)
	a := Account{Host: "registry.example", Kind: "manifest"}
	draw := func() (int, time.Duration) {
		t.Helper()
		got, wait, err := s.DrawBudget(t.Context(), a, 10, 5, 5)
		if err != nil {
			t.Fatal(err)
		}
		return got, wait
	}
	draw()
	exec(t, s, `UPDATE registry_account SET filled_at = clock_timestamp() + interval '1 hour'`)
	if got, wait := draw(); got != 0 || wait > time.Second {
		t.Errorf("got %d, wait for %s", got, wait)
	}
	exec(t, s, `UPDATE registry_account SET filled_at = clock_timestamp() - interval '1 hour'`)
	if got, _ := draw(); got != 5 {
		t.Errorf("got %d of what came in an hour", got)
	}
}

// TestClockAhead: a process whose clock is ahead does not keep others from telling what they hear.
func TestClockAhead(t *testing.T) {
	s := openStore(t)
	note := Budget{Account: Account{Host: "registry.example", Kind: "manifest"}, Limit: 100, Remaining: 3, Observed: time.Now().Add(time.Hour)}
	for _, remaining := range []int64{3, 2} {
		note.Remaining = remaining
		if err := s.NoteBudgets(t.Context(), []Budget{note}); err != nil {
			t.Fatal(err)
		}
		note.Observed = time.Now().Add(time.Second / 10)
	}
	got, err := s.Budgets(t.Context())
	if err != nil || len(got) != 1 || got[0].Remaining != 2 || time.Until(got[0].Observed) > time.Second {
		t.Errorf("%+v (%v)", got, err)
	}
}

// TestCollectBudgets: what is known of registries that nobody asks any more goes.
func TestCollectBudgets(t *testing.T) {
	s := openStore(t)
	for _, host := range []string{"old.example", "new.example"} {
		if _, _, err := s.DrawBudget(t.Context(), Account{Host: host, Kind: "manifest"}, 10, 5, 5); err != nil {
			t.Fatal(err)
		}
		if _, err := s.LeaseSlots(t.Context(), "killed", time.Minute, []SlotWish{{SlotUse: SlotUse{Host: host}, Limit: 2, Want: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, s, `UPDATE registry_account SET filled_at = filled_at - interval '8 days' WHERE host = 'old.example'`)
	exec(t, s, `UPDATE registry_slot SET expires_at = expires_at - interval '2 hours' WHERE host = 'old.example'`)
	got, _, err := s.Collect(t.Context(), term, Retention{})
	if diff := cmp.Diff(Collected{Accounts: 1, Slots: 1}, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}
