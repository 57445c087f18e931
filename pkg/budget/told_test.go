package budget

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

func TestRation(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		what             string
		limit, remaining int64
		window, ago      time.Duration
		want             float64 // requests a second
	}{
		{"a tenth of what remains", 100, 100, 6 * time.Hour, 0, 10},
		{"little", 100, 5, 6 * time.Hour, 0, 0.5},
		{"nothing: as many as come back on average", 100, 0, 6 * time.Hour, time.Hour, 1.0 / 216},
		{"nothing, and hardly any come back", 1, 0, 24 * time.Hour, 0, 1 / longestProbe.Seconds()},
		{"nothing is ever allowed", 0, 0, 24 * time.Hour, 0, 1 / longestProbe.Seconds()},
		{"nothing, and many come back", 44000, 0, time.Minute, 0, 1},
		{"many in a short window", 100, 50, time.Second, 0, 50},
		{"a window that is not told", -1, 0, 0, 0, 1.0 / 60},
		{"long ago", 100, 0, 6 * time.Hour, 6*time.Hour + 1, 0},
		{"long ago, and no window", 100, 0, 0, time.Minute + 1, 0},
		{"not told", 100, -1, time.Hour, 0, 0},
	} {
		told := told{c.limit, c.remaining, c.window, now.Add(-c.ago)}
		if got := told.ration(now); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v requests a second, want %v", c.what, got, c.want)
		}
	}
	if got := (told{}).ration(now); got != 0 {
		t.Errorf("told nothing: %v", got)
	}
}

// TestNoneRemain: before a registry has to refuse, all processes slow down, one request asks now and then, and when it is told that
// there are more, all go on.
func TestNoneRemain(t *testing.T) {
	s := clustertest.Store(t)
	ctx := t.Context()
	a, b := newBudget(t, s, nil), newBudget(t, s, nil)
	manifest := request(registry.KindManifest)
	manifest.Account = "robot"
	tell := func(remaining int64) {
		t.Helper()
		a.Observe(registry.Response{Request: manifest, Status: http.StatusOK, Limit: 100, Remaining: remaining, Window: 6 * time.Hour})
		for _, process := range []*Budget{a, b} {
			if err := process.exchange(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask := func(b *Budget) error {
		_, release, err := b.Acquire(ctx, manifest)
		if err == nil {
			release()
		}
		return err
	}
	tell(0)
	var after time.Duration
	for range 3 {
		for _, process := range []*Budget{a, b} {
			err := ask(process)
			after = fault.AfterOf(err)
			if fault.KindOf(err) != fault.RateLimited || after <= maxWait || after > 216*time.Second || !strings.Contains(err.Error(), "0 of the 100") {
				t.Fatalf("while none remain: %v, after %s", err, after)
			}
		}
	}
	nobody, blob := manifest, manifest
	nobody.Account, blob.Kind = "", registry.KindBlob
	for _, other := range []registry.Request{nobody, blob} {
		if _, release, err := b.Acquire(ctx, other); err != nil {
			t.Errorf("%v: %v", other, err)
		} else {
			release()
		}
	}
	tell(100)
	for _, process := range []*Budget{a, b} {
		if err := ask(process); err != nil {
			t.Errorf("when there are more: %v", err)
		}
	}
}
