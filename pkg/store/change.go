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
	SELECT DISTINCT ON (release_id, advisory_id) release_id, advisory_id,
		CASE WHEN fixed_key IS NULL THEN '' ELSE fixed END AS fixed, max(severity) OVER standing AS severity, status
	FROM %s
	WINDOW standing AS (PARTITION BY release_id, advisory_id ORDER BY fixed_key DESC NULLS FIRST, status
		ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
	ORDER BY release_id, advisory_id, fixed_key DESC NULLS FIRST, status`

// findingsOf are the findings of one range, looked up in the index whatever Postgres thinks of it. Ranges that moved are few, but
// of how many findings that makes it has no good idea, and would rather read all there are: ten million.
func findingsOf(rangeID string) string {
	return `(SELECT release_id FROM finding WHERE affected_id = ` + rangeID + ` OFFSET 0)`
}

// noteBefore keeps what the ranges that will go or change say of releases, before they do, and where they are.
func (d *deltaTx) noteBefore(ctx context.Context) error {
	if d.initial {
		return nil
	}
	for _, statement := range []string{
		`CREATE TEMPORARY TABLE moving ON COMMIT DROP AS
		SELECT id FROM gone UNION SELECT id FROM altered UNION SELECT a.id FROM affected a JOIN revised v ON v.id = a.advisory_id`,
		`CREATE TEMPORARY TABLE place ON COMMIT DROP AS
		SELECT a.advisory_id, a.namespace_id, a.name FROM moving JOIN affected a USING (id)`,
		`CREATE TEMPORARY TABLE before (
			release_id integer, affected_id integer, advisory_id integer, fixed text, fixed_key bytea, status smallint, severity smallint
		) ON COMMIT DROP`,
	} {
		if _, err := d.tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return d.noteBeforeOf(ctx, "NOT IN")
}

// noteBeforeOf is noteBefore for the releases that are IN those that the snapshot does not have, or NOT IN them.
func (d *deltaTx) noteBeforeOf(ctx context.Context, in string) error {
	if d.initial {
		return nil
	}
	_, err := d.tx.Exec(ctx, `
		INSERT INTO before
		SELECT f.release_id, a.id, a.advisory_id, a.fixed, a.fixed_key, a.status, coalesce(nullif(a.severity, 0), s.severity, v.severity)
		FROM moving JOIN affected a USING (id) JOIN advisory v ON v.id = a.advisory_id LEFT JOIN revised s ON s.id = v.id
		CROSS JOIN LATERAL `+findingsOf("a.id")+` f
		WHERE f.release_id `+in+unseenReleases, d.snapshot)
	return err
}

// noteChanges records the differences for the releases of the snapshot. It reads all ranges of the places where some moved:
// also one that stays counts for what a reader sees.
func (d *deltaTx) noteChanges(ctx context.Context) error {
	if d.initial {
		return nil
	}
	for _, statement := range []string{
		`INSERT INTO place SELECT a.advisory_id, a.namespace_id, a.name FROM changed c JOIN affected a USING (id) WHERE c.fresh`,
		`CREATE TEMPORARY TABLE present ON COMMIT DROP AS
		SELECT a.id, a.advisory_id, a.fixed, a.fixed_key, a.status, coalesce(nullif(a.severity, 0), v.severity) AS severity,
			a.id IN (SELECT id FROM changed) AS changed
		FROM (SELECT DISTINCT advisory_id, namespace_id, name FROM place) p JOIN advisory v ON v.id = p.advisory_id
		CROSS JOIN LATERAL (
			SELECT * FROM affected a WHERE (a.advisory_id, a.namespace_id, a.name) = (p.advisory_id, p.namespace_id, p.name) OFFSET 0) a`,
		`ANALYZE present`,
	} {
		if _, err := d.tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return d.noteChangesOf(ctx, "NOT IN")
}

// noteChangesOf is noteChanges for the releases that are IN those that the snapshot does not have, or NOT IN them.
func (d *deltaTx) noteChangesOf(ctx context.Context, in string) error {
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
		WITH now_rows AS MATERIALIZED (
			SELECT f.release_id, p.id AS affected_id, p.advisory_id, p.fixed, p.fixed_key, p.status, p.severity, p.changed
			FROM present p CROSS JOIN LATERAL %[4]s f
			WHERE f.release_id %[1]s
		), before_rows AS MATERIALIZED (
			SELECT * FROM before WHERE release_id %[1]s
		), old_rows AS (
			SELECT * FROM before_rows
			UNION ALL
			SELECT release_id, affected_id, advisory_id, fixed, fixed_key, status, severity FROM now_rows n
			WHERE NOT changed AND NOT EXISTS (SELECT FROM before_rows b WHERE b.affected_id = n.affected_id AND b.release_id = n.release_id)
		), names AS MATERIALIZED (
			SELECT id, name FROM advisory WHERE id IN (SELECT advisory_id FROM place)
		), differences AS (
			SELECT release_id, advisory_id, o.fixed AS old_fixed, n.fixed AS new_fixed, o.severity AS old_severity, n.severity AS new_severity,
				o.status AS old_status, n.status AS new_status,
				CASE WHEN o.severity IS NULL THEN 1 WHEN n.severity IS NULL THEN 2 WHEN o.fixed <> n.fixed THEN 3
					WHEN o.severity <> n.severity THEN 4 WHEN o.status <> n.status THEN 5 END AS kind
			FROM (%[2]s) o FULL JOIN (%[3]s) n USING (release_id, advisory_id)
		)
		INSERT INTO change (batch_id, release_id, source_id, advisory, kind, old_fixed, new_fixed, old_severity, new_severity, old_status, new_status)
		SELECT $2, x.release_id, $3, v.name, x.kind, x.old_fixed, x.new_fixed, x.old_severity, x.new_severity, x.old_status, x.new_status
		FROM differences x JOIN names v ON v.id = x.advisory_id
		WHERE x.kind IS NOT NULL`,
		in+unseenReleases, fmt.Sprintf(standing, "old_rows"), fmt.Sprintf(standing, "now_rows"), findingsOf("p.id")), d.snapshot, d.batchID, d.sourceID)
	d.delta.Changes += int(tag.RowsAffected())
	return err
}
