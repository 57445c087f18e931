package store

import (
	"context"
	"fmt"
)

// # Changes as facts
//
// A new version of a feed changes what is known about releases. Each difference is recorded in the same transaction: a
// row for a release and an advisory, with severity, fix and status before and after. Who is touched is told by the
// release, lazily: its packages, the inventories that hold one, the images that have one of these.
//
// What is compared is what a reader would have seen: a release that two ranges of one advisory reach is vulnerable until
// it is past both. A range that is withdrawn while another takes its place is a change of the fix, not a withdrawal and
// a new finding.
//
// The first reading of a feed records no differences: nobody wants to hear that everything is new.

// ChangeKind says what changed for a release. The numbers are stored.
type ChangeKind uint8

// The kinds of change. Where several things changed at once, the first that applies is the kind.
const (
	ChangeNew       ChangeKind = iota + 1 // the advisory was not known to affect the release
	ChangeWithdrawn                       // it is no longer
	ChangeFix                             // there is a fix where there was none, or another one
	ChangeSeverity                        // it became better or worse
	ChangeStatus                          // the vendor changed what it intends to do
)

// standing is what a reader sees of a release and an advisory, over rows that have the columns of "before": the fix that is
// past all ranges, or none; the worst severity.
const standing = `
	SELECT release_id, advisory_id,
		CASE WHEN bool_or(fixed_key IS NULL) THEN '' ELSE (array_agg(fixed ORDER BY fixed_key DESC))[1] END AS fixed,
		max(severity)::smallint AS severity,
		(array_agg(status ORDER BY fixed_key DESC NULLS FIRST, status))[1] AS status
	FROM %s GROUP BY release_id, advisory_id`

// current are the findings as they are, with the columns of "before".
const current = `
	SELECT f.release_id, a.id AS affected_id, a.advisory_id, a.fixed, a.fixed_key, a.status, coalesce(nullif(a.severity, 0), v.severity) AS severity
	FROM finding f JOIN affected a ON a.id = f.affected_id JOIN advisory v ON v.id = a.advisory_id JOIN release r ON r.id = f.release_id`

// noteBefore keeps what the ranges that will go or change say of releases, before they do.
func (d *deltaTx) noteBefore(ctx context.Context) error {
	_, err := d.tx.Exec(ctx, `
		CREATE TEMPORARY TABLE before (
			release_id integer, affected_id integer, advisory_id integer, fixed text, fixed_key bytea, status smallint, severity smallint
		) ON COMMIT DROP`)
	if err != nil || d.initial {
		return err
	}
	return d.noteBeforeOf(ctx, "NOT ("+unseen+")")
}

// noteBeforeOf is noteBefore for the releases of which the condition holds.
func (d *deltaTx) noteBeforeOf(ctx context.Context, condition string) error {
	if d.initial {
		return nil
	}
	_, err := d.tx.Exec(ctx, `
		INSERT INTO before
		SELECT c.release_id, c.affected_id, c.advisory_id, c.fixed, c.fixed_key, c.status,
			CASE WHEN c.own = 0 AND s.id IS NOT NULL THEN s.severity ELSE c.severity END
		FROM (
			SELECT f.release_id, a.id AS affected_id, a.advisory_id, a.fixed, a.fixed_key, a.status, a.severity AS own,
				coalesce(nullif(a.severity, 0), v.severity) AS severity
			FROM (SELECT id FROM gone UNION SELECT id FROM altered
				UNION SELECT a.id FROM affected a JOIN revised s ON s.id = a.advisory_id) touched
			JOIN affected a ON a.id = touched.id JOIN advisory v ON v.id = a.advisory_id
			JOIN finding f ON f.affected_id = a.id JOIN release r ON r.id = f.release_id
			WHERE `+condition+`) c
		LEFT JOIN revised s ON s.id = c.advisory_id`, d.snapshot)
	return err
}

// noteChanges records the differences for the releases of the snapshot.
func (d *deltaTx) noteChanges(ctx context.Context) error {
	if d.initial {
		return nil
	}
	return d.noteChangesOf(ctx, "NOT ("+unseen+")")
}

// noteChangesOf is noteChanges for the releases of which the condition holds.
func (d *deltaTx) noteChangesOf(ctx context.Context, condition string) error {
	if d.initial {
		return nil
	}
	if d.batchID == 0 {
		err := d.tx.QueryRow(ctx, `INSERT INTO change_batch (source_id, feed_id) VALUES ($1, $2) RETURNING id`, d.sourceID, d.feedID).Scan(&d.batchID)
		if err != nil {
			return err
		}
	}
	tag, err := d.tx.Exec(ctx, fmt.Sprintf(`
		WITH touched AS (
			SELECT b.release_id, b.advisory_id FROM before b JOIN release r ON r.id = b.release_id WHERE %[1]s
			UNION
			SELECT f.release_id, a.advisory_id FROM changed c JOIN affected a ON a.id = c.id
				JOIN finding f ON f.affected_id = a.id JOIN release r ON r.id = f.release_id WHERE %[1]s
		), now_rows AS (
			SELECT n.* FROM touched t JOIN LATERAL (%[2]s WHERE f.release_id = t.release_id AND a.advisory_id = t.advisory_id) n ON true
		), old_rows AS (
			SELECT b.* FROM before b JOIN touched USING (release_id, advisory_id)
			UNION ALL
			SELECT n.* FROM now_rows n
			WHERE NOT EXISTS (SELECT FROM changed c WHERE c.id = n.affected_id)
				AND NOT EXISTS (SELECT FROM before b WHERE b.affected_id = n.affected_id AND b.release_id = n.release_id)
		), differences AS (
			SELECT t.release_id, t.advisory_id, o.fixed AS old_fixed, n.fixed AS new_fixed, o.severity AS old_severity, n.severity AS new_severity,
				o.status AS old_status, n.status AS new_status,
				CASE WHEN o.release_id IS NULL THEN 1 WHEN n.release_id IS NULL THEN 2 WHEN o.fixed <> n.fixed THEN 3
					WHEN o.severity <> n.severity THEN 4 WHEN o.status <> n.status THEN 5 END AS kind
			FROM touched t
			LEFT JOIN (%[3]s) o USING (release_id, advisory_id)
			LEFT JOIN (%[4]s) n USING (release_id, advisory_id)
			WHERE o.release_id IS NOT NULL OR n.release_id IS NOT NULL
		)
		INSERT INTO change (batch_id, release_id, source_id, advisory, kind, old_fixed, new_fixed, old_severity, new_severity, old_status, new_status)
		SELECT $2, x.release_id, $3, v.name, x.kind, x.old_fixed, x.new_fixed, x.old_severity, x.new_severity, x.old_status, x.new_status
		FROM differences x JOIN advisory v ON v.id = x.advisory_id
		WHERE x.kind IS NOT NULL`,
		condition, current, fmt.Sprintf(standing, "old_rows"), fmt.Sprintf(standing, "now_rows")), d.snapshot, d.batchID, d.sourceID)
	d.delta.Changes += int(tag.RowsAffected())
	return err
}
