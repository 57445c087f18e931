package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// collectAll collects until there is nothing more.
func collectAll(t *testing.T, s *Store, keep Retention) (sum Collected) {
	t.Helper()
	for quiet := 0; quiet < 2; {
		c, round, err := s.Collect(t.Context(), term, keep)
		if err != nil {
			t.Fatal(err)
		}
		sum.Submissions += c.Submissions
		sum.Changes += c.Changes
		sum.Inventories += c.Inventories
		sum.Packages += c.Packages
		sum.Releases += c.Releases
		sum.Findings += c.Findings
		if quiet++; c.Sum() > 0 || !round {
			quiet = 0
		}
	}
	return sum
}

func TestCollect(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	applyFeed(t, s, debianFeed("1", "zlib CVE-1 9", "perl CVE-2 9"))
	submit(t, s, 1, "app", job.Now, "base")
	submit(t, s, 2, "other", job.Now, "top")
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1.5", "perl 5")))
	commitLayers(t, s, analyzed("top", debianLayer("perl 5")))
	if got := collectAll(t, s, Retention{}); got.Sum() != 0 {
		t.Errorf("collected what is needed: %+v", got)
	}

	// A newer extractor sees another zlib, so that the inventory of before is superseded, and with it its zlib.
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(3), Target: "app"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RecordResolutions(t.Context(), term, 2, []Resolution{resolution(3, "app", job.Now, "base")}); err != nil {
		t.Fatal(err)
	}
	result := analyzed("base", debianLayer("zlib 1.6", "perl 5"))
	result.Extractor = 2
	commitLayers(t, s, result)
	want := Collected{Inventories: 1, Packages: 1, Releases: 1, Findings: 1}
	if diff := cmp.Diff(want, collectAll(t, s, Retention{})); diff != "" {
		t.Errorf("superseded (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"perl CVE-2 9", "zlib CVE-1 9"}, found(readReport(t, s, "app"))); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}

	applyFeed(t, s, debianFeed("2", "zlib CVE-1 10", "perl CVE-2 9"))
	if got := collectAll(t, s, Retention{Submissions: -1, Changes: -1}); got.Sum() != 0 {
		t.Errorf("collected what is to be kept for ever: %+v", got)
	}
	want = Collected{Submissions: 3, Changes: 1}
	if diff := cmp.Diff(want, collectAll(t, s, Retention{Submissions: time.Nanosecond, Changes: time.Nanosecond})); diff != "" {
		t.Errorf("old (-want +got):\n%s", diff)
	}
}

// A batch of more changes than one call removes goes bit by bit, and is there until the last is gone.
func TestCollectManyChanges(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	applyFeed(t, s, debianFeed("1", "zlib CVE-1 9"))
	_, err := s.pool.Exec(t.Context(), `
		WITH b AS (
			INSERT INTO change_batch (source_id, feed_id, at) SELECT source_id, id, now() - interval '1 year' FROM feed RETURNING id, source_id)
		INSERT INTO change (batch_id, release_id, source_id, advisory, kind)
		SELECT b.id, n, b.source_id, 'CVE-1', 1 FROM b, generate_series(1, $1) n`, changeBatch*2+1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		changes, batches int
		round            bool
	}{{changeBatch, 1, false}, {changeBatch, 1, false}, {1, 0, true}, {0, 0, true}} {
		c, round, err := s.Collect(t.Context(), term, Retention{})
		if err != nil {
			t.Fatal(err)
		}
		var batches int
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM change_batch`).Scan(&batches); err != nil {
			t.Fatal(err)
		}
		if c.Changes != want.changes || batches != want.batches || round != want.round {
			t.Errorf("%d changes collected, %d batches left, all looked at: %v; want %+v", c.Changes, batches, round, want)
		}
	}
}
