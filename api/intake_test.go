package api

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// TestIntake: of submissions that come at once each gets its own answer, also one that came twice, and one that the database
// refuses takes no other along.
func TestIntake(t *testing.T) {
	s := clustertest.Store(t)
	a, err := New(Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	ids[n/2] = "no id"
	var all sync.WaitGroup
	for i, id := range ids {
		for range 2 { // the second is the same wish
			all.Go(func() {
				wish := store.Submission{ID: id, Target: fmt.Sprint("docker.io/library/app:", i), Lane: job.Lanes[i%2]}
				recorded, err := a.accept(t.Context(), wish)
				switch {
				case id == "no id":
					if fault.KindOf(err) != fault.Invalid {
						t.Errorf("a submission that the database refuses: %v, %v", recorded, err)
					}
				case err != nil || recorded.ID != id || recorded.Target != wish.Target || recorded.Lane != wish.Lane || recorded.Created.IsZero():
					t.Errorf("want %+v, got %+v, %v", wish, recorded, err)
				}
			})
		}
	}
	all.Wait()
	if a.intake.busy || len(a.intake.waiting) > 0 {
		t.Errorf("left behind: %+v", a.intake.waiting)
	}
	backlog, err := s.Backlog(t.Context())
	if err != nil || backlog.SubmissionsQueued != n-1 {
		t.Errorf("%+v, %v", backlog, err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.accept(canceled, store.Submission{ID: uuid.NewString(), Target: "docker.io/library/late"}); err != nil {
		t.Errorf("of one who left: %v", err)
	}
}
