package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// # Collecting what nobody needs
//
// Rows that are superseded go in small batches, each a short transaction. What is looked at is bounded by a cursor
// for each table, which goes round; so the work of a batch does not depend on the size of the database.
//
// An inventory, a package or a release may be taken up by a worker at the moment at which it is found to be unused. So a
// worker holds the interning lock in share mode from before it looks for ids until it commits, and what was found unused is
// looked at once more, and removed, under the lock alone. Only what was found before is looked at there, mostly nothing.

// A feed that is being applied joins releases that are there when it begins. So releases go only while none is being
// applied: each holds the feeds' lock in share mode, and where it cannot be had, they are left for another time.

// interningLock and feedsLock are the keys of the advisory locks.
const (
	interningLock = correlationLock + 1
	feedsLock     = correlationLock + 2
)

// Retention says how long things are kept that nothing refers to. Zero means the default, negative for ever.
type Retention struct {
	Submissions time.Duration // that are done. Default 30 days
	Changes     time.Duration // that feeds brought. Default 90 days
}

// Collected counts rows that were removed.
type Collected struct {
	Submissions, Changes, Accounts, Slots, Inventories, Packages, Releases, Findings int
}

// Sum returns the number of all rows.
func (c Collected) Sum() int {
	return c.Submissions + c.Changes + c.Accounts + c.Slots + c.Inventories + c.Packages + c.Releases + c.Findings
}

// collectBatch bounds what one call looks at, in each table, and changeBatch how many changes it removes: they are small,
// and many.
const (
	collectBatch = 2000
	changeBatch  = 20_000
)

// accountAge and slotAge are how long accounts with registries and leases of slots are kept that are of no use any more.
const (
	accountAge = 7 * 24 * time.Hour
	slotAge    = time.Hour
)

// Collect removes one batch of what nobody needs, under the leader's term, in a few short transactions. It reports whether
// all cursors came to the end of their tables, and so whether there is nothing more to look at for now.
func (s *Store) Collect(ctx context.Context, term int64, keep Retention) (Collected, bool, error) {
	var c Collected
	round := true
	err := s.writeAs(ctx, term, "collect", func(tx pgx.Tx) (err error) {
		c = Collected{}
		if keep.Submissions >= 0 {
			c.Submissions, err = collectOld(ctx, tx, `
				DELETE FROM submission WHERE id IN (
					SELECT id FROM submission WHERE state <> 0 AND created_at < now() - $1::interval ORDER BY created_at LIMIT $2)`,
				orDefault(keep.Submissions, 30*24*time.Hour), collectBatch)
		}
		if err == nil && keep.Changes >= 0 {
			c.Changes, err = collectChanges(ctx, tx, orDefault(keep.Changes, 90*24*time.Hour))
		}
		// What is known of registries that nobody asks any more, and the leases of processes that died while they asked those.
		if err == nil {
			c.Accounts, err = collectOld(ctx, tx, `
				DELETE FROM registry_account WHERE ctid = ANY (ARRAY(
					SELECT ctid FROM registry_account WHERE greatest(paused_until, observed_at, filled_at) < now() - $1::interval LIMIT $2))`,
				accountAge, collectBatch)
		}
		if err == nil {
			c.Slots, err = collectOld(ctx, tx, `
				DELETE FROM registry_slot WHERE ctid = ANY (ARRAY(
					SELECT ctid FROM registry_slot WHERE expires_at < now() - $1::interval LIMIT $2))`,
				slotAge, collectBatch)
		}
		round = max(c.Submissions, c.Accounts, c.Slots) < collectBatch && c.Changes < changeBatch
		return err
	})
	if err != nil {
		return c, false, err
	}
	for _, table := range []struct {
		name, unused string
		remove       func(context.Context, pgx.Tx, []int32) error
		count        *int
	}{
		{"inventory", `NOT EXISTS (SELECT FROM image i WHERE i.inventory_id = t.id)`, c.removeInventories, &c.Inventories},
		{"package", `NOT EXISTS (SELECT FROM inventory v WHERE v.package_ids @> ARRAY[t.id])`, c.removePackages, &c.Packages},
		{"release", `NOT EXISTS (SELECT FROM package p WHERE p.release_id = t.id)
			AND NOT EXISTS (SELECT FROM package p WHERE p.source_release_id = t.id)`, c.removeReleases, &c.Releases},
	} {
		found, wrapped, err := s.unused(ctx, term, table.name, table.unused)
		if err != nil {
			return c, false, err
		}
		round = round && wrapped
		if len(found) == 0 {
			continue
		}
		err = s.writeAs(ctx, term, "collect "+table.name, func(tx pgx.Tx) error {
			var free bool
			if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(feedsLock)).Scan(&free); err != nil || !free {
				return err
			}
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(interningLock)); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, `SELECT t.id FROM `+table.name+` t WHERE t.id = ANY($1) AND `+table.unused, found)
			if err != nil {
				return err
			}
			still, err := pgx.CollectRows(rows, pgx.RowTo[int32])
			if err != nil {
				return err
			}
			*table.count = len(still)
			return table.remove(ctx, tx, still)
		})
		if err != nil {
			return c, false, err
		}
	}
	return c, round, nil
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// collectChanges removes what old batches changed, and then the batches that have nothing left. A batch may have more changes
// than one call removes.
func collectChanges(ctx context.Context, tx pgx.Tx, age time.Duration) (int, error) {
	n, err := collectOld(ctx, tx, `
		DELETE FROM change WHERE ctid = ANY (ARRAY(
			SELECT c.ctid FROM (SELECT id FROM change_batch WHERE at < now() - $1::interval ORDER BY id LIMIT $2) b
			JOIN change c ON c.batch_id = b.id LIMIT $2))`, age, changeBatch)
	if err == nil {
		_, err = collectOld(ctx, tx, `
			DELETE FROM change_batch WHERE id IN (
				SELECT id FROM change_batch b WHERE at < now() - $1::interval AND NOT EXISTS (SELECT FROM change c WHERE c.batch_id = b.id)
				ORDER BY id LIMIT $2)`, age, collectBatch)
	}
	return n, err
}

func collectOld(ctx context.Context, tx pgx.Tx, statement string, age time.Duration, most int) (int, error) {
	tag, err := tx.Exec(ctx, statement, age, most)
	return int(tag.RowsAffected()), err
}

// unused looks at the next rows of a table behind its cursor, and returns those of which the condition holds. It reports
// whether it came to the end, and begins anew then.
func (s *Store) unused(ctx context.Context, term int64, table, condition string) (found []int32, wrapped bool, err error) {
	err = s.writeAs(ctx, term, "look for unused "+table, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO collection (name) VALUES ($1) ON CONFLICT DO NOTHING`, table)
		if err != nil {
			return err
		}
		var last *int32
		var n int
		err = tx.QueryRow(ctx, `
			WITH batch AS (
				SELECT t.id FROM `+table+` t WHERE t.id > (SELECT cursor FROM collection WHERE name = $1) ORDER BY t.id LIMIT $2)
			SELECT max(t.id), count(*), coalesce(array_agg(t.id) FILTER (WHERE `+condition+`), '{}') FROM batch t`,
			table, collectBatch).Scan(&last, &n, &found)
		if err != nil {
			return err
		}
		wrapped = n < collectBatch
		if wrapped {
			last = new(int32)
		}
		_, err = tx.Exec(ctx, `UPDATE collection SET cursor = $2 WHERE name = $1`, table, *last)
		return err
	})
	return found, wrapped, err
}

func (c *Collected) removeInventories(ctx context.Context, tx pgx.Tx, ids []int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM inventory WHERE id = ANY($1)`, ids)
	return err
}

func (c *Collected) removePackages(ctx context.Context, tx pgx.Tx, ids []int32) error {
	_, err := tx.Exec(ctx, `DELETE FROM package WHERE id = ANY($1)`, ids)
	return err
}

func (c *Collected) removeReleases(ctx context.Context, tx pgx.Tx, ids []int32) error {
	for _, statement := range []string{
		`DELETE FROM finding WHERE release_id = ANY($1)`,
		`DELETE FROM undecided WHERE release_id = ANY($1)`,
	} {
		tag, err := tx.Exec(ctx, statement, ids)
		if err != nil {
			return err
		}
		c.Findings += int(tag.RowsAffected())
	}
	_, err := tx.Exec(ctx, `DELETE FROM release WHERE id = ANY($1)`, ids)
	return err
}
