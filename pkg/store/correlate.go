package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// # How the correlation is kept whole
//
// A finding is a pair of a release and an affected range. It is made by whichever came second: a new
// release is joined with the ranges that are known, a changed range with the releases that are known.
// Two transactions that run at once do not see one another's rows, and a pair whose halves they bring
// would be found by neither. So:
//
//   - A worker joins its new releases holding the correlation lock in share mode, until it commits.
//     Workers do not wait for one another.
//   - An updater notes its snapshot, then takes away what its removed ranges found and joins its
//     changed ones, without the lock, for as long as that takes. Then it takes the lock alone, which waits
//     for the few workers between their join and their commit, and does both once more for the releases
//     that are not in the snapshot: release.born, the transaction that inserted one, tells. These are few, so
//     that workers are held up for milliseconds, whatever the size of the feed.
//
// A worker that joins after the updater's commit sees the ranges as they are now; one that committed before
// the second join is seen by it; and none is in between.

// correlationLock is the key of the advisory lock, "trawl" and a number.
const correlationLock = 0x7472_6177_6c00_0001

// matches is the condition under which a release r lies in a range a of the same name, and decided
// the further condition under which that is a finding. Everything else that shares namespace and name
// with a range, and is not known to lie outside, is undecided. Status 0 is under_investigation and 6
// not_affected, see advisory.Status.
const (
	isComparable = `(r.key IS NOT NULL AND a.problem IS NULL)`
	inside       = `(a.introduced_key <= r.key AND (a.fixed_key IS NULL OR r.key < a.fixed_key))`
	isFinding    = isComparable + ` AND ` + inside + ` AND a.status BETWEEN 1 AND 5`
	isOpen       = `a.status <> 6 AND (NOT ` + isComparable + ` OR (a.status = 0 AND ` + inside + `))`
)

// correlateReleases finds the new releases in the known ranges. It returns the number of findings.
func correlateReleases(ctx context.Context, tx pgx.Tx, releases []int32) (int, error) {
	if len(releases) == 0 {
		return 0, nil
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1)`, int64(correlationLock)); err != nil {
		return 0, err
	}
	const pairs = `
		SELECT r.id, a.id FROM release r JOIN affected a ON a.namespace_id = r.namespace_id AND a.name = r.name
		WHERE r.id = ANY($1) AND `
	tag, err := tx.Exec(ctx, `INSERT INTO finding (release_id, affected_id)`+pairs+isFinding+` ON CONFLICT DO NOTHING`, releases)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO undecided (release_id, affected_id)`+pairs+isOpen+` ON CONFLICT DO NOTHING`, releases)
	return int(tag.RowsAffected()), err
}
