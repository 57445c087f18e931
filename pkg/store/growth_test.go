package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// A feed that is updated every week for a year, each time with the changes that real ones have, leaves a database of the
// size that it had, with the leader collecting and Postgres vacuuming as they do.
func TestFeedsDoNotMakeTheDatabaseGrow(t *testing.T) {
	const vacuumEvery = 4
	advisories, updates := 1500, 50
	if testing.Short() {
		advisories, updates = 500, 15
	}
	s := openStore(t)
	empty := databaseBytes(t, s)
	registerDebian(t, s)
	for i := range 8 {
		var packages []string
		for n := range 250 {
			packages = append(packages, fmt.Sprintf("package%d %d.%d", n, 1+i/2, n%3))
		}
		image := fmt.Sprint("image", i)
		submit(t, s, i, image, job.Bulk, image)
		commitLayers(t, s, analyzed(image, debianLayer(packages...)))
	}

	feed := newLivelyFeed(advisories)
	var settled int64
	for update := range updates {
		delta := applyFeed(t, s, feedOf(update, feed.records...))
		if update > 0 && (delta.Added == 0 || delta.Removed == 0 || delta.Changed == 0 || delta.Changes == 0) {
			t.Fatalf("update %d changed too little: %+v", update, delta)
		}
		// A week passes. Old changes are collected after 90 days.
		exec(t, s, `UPDATE change_batch SET at = at - interval '7 days'`)
		collectAll(t, s, Retention{})
		if update%vacuumEvery != 0 {
			feed.live()
			continue
		}
		exec(t, s, `VACUUM`)
		size := databaseBytes(t, s) - empty
		if settled == 0 && update >= updates/3 {
			settled = size // as many changes come as go
		}
		if settled > 0 && size > settled+settled*15/100 {
			t.Errorf("%d bytes after update %d, %d after a third of them", size, update, settled)
		}
		feed.live()
	}
	t.Logf("%d bytes after %d updates, %d after a third of them", databaseBytes(t, s)-empty, updates, settled)
	checkNothingDead(t, s)
}

// checkNothingDead holds that what no feed says any more is gone, and that what is left is whole.
func checkNothingDead(t *testing.T, s *Store) {
	t.Helper()
	for what, query := range map[string]string{
		"advisories without a range": `SELECT count(*) FROM advisory v WHERE NOT EXISTS (SELECT FROM affected a WHERE a.advisory_id = v.id)`,
		"findings of no range":       `SELECT count(*) FROM finding f WHERE NOT EXISTS (SELECT FROM affected a WHERE a.id = f.affected_id)`,
		"findings of no release":     `SELECT count(*) FROM finding f WHERE NOT EXISTS (SELECT FROM release r WHERE r.id = f.release_id)`,
		"undecided of no range":      `SELECT count(*) FROM undecided f WHERE NOT EXISTS (SELECT FROM affected a WHERE a.id = f.affected_id)`,
		"ranges more than the feed has": `
			SELECT abs((SELECT count(*) FROM affected) - (SELECT sum(ranges) FROM feed))`,
		"findings missing or too many": `
			SELECT count(*) FROM (SELECT r.id AS release_id, a.id AS affected_id FROM release r
				JOIN affected a ON a.namespace_id = r.namespace_id AND a.name = r.name WHERE ` + isFinding + `) w
			FULL JOIN finding f USING (release_id, affected_id) WHERE f IS NULL OR w IS NULL`,
		"changes older than 90 days": `
			SELECT count(*) FROM change c LEFT JOIN change_batch b ON b.id = c.batch_id WHERE coalesce(b.at < now() - interval '90 days', true)`,
	} {
		var n int
		if err := s.pool.QueryRow(t.Context(), query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
}

func exec(t *testing.T, s *Store, statement string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// databaseBytes returns the size of the tables and their indexes, those in which Postgres keeps its own accounts among them:
// a table that is temporary leaves traces there.
func databaseBytes(t *testing.T, s *Store) (bytes int64) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), `SELECT pg_database_size(current_database())`).Scan(&bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// livelyFeed is a feed whose advisories come, change and go, as many as there are staying the same.
type livelyFeed struct {
	random  *rand.Rand
	records []advisory.Record
	next    int
}

func newLivelyFeed(n int) *livelyFeed {
	f := &livelyFeed{random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // a test is to be repeatable
	for range n {
		f.records = append(f.records, f.record())
	}
	return f
}

func (f *livelyFeed) record() advisory.Record {
	f.next++
	r := rangeOf(fmt.Sprintf("package%d", f.random.IntN(250)), "", advisory.Affected, 0)
	return advisory.Record{
		ID: fmt.Sprintf("CVE-2026-%d", f.next), Severity: advisory.Medium, Affected: []advisory.Range{r},
		Description: fmt.Sprintf("A flaw in %s, number %d, lets somebody do what nobody should.", r.Name, f.next),
	}
}

// live changes one advisory in twenty.
func (f *livelyFeed) live() {
	for range len(f.records) / 20 {
		r := &f.records[f.random.IntN(len(f.records))]
		switch a := &r.Affected[0]; f.random.IntN(4) {
		case 0:
			a.Status, a.Fixed = advisory.Fixed, fmt.Sprintf("%d.%d", 1+f.random.IntN(5), f.random.IntN(9))
		case 1:
			a.Status, a.Fixed = advisory.WillNotFix, ""
		case 2:
			r.Severity = advisory.Severity(1 + f.random.IntN(5))
		case 3:
			*r = f.record() // another one instead
		}
	}
}
