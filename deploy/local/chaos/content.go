package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Content is what a database holds, by natural keys: for each subject its rows, sorted, as text. Nothing in it depends on
// the order in which things came to be.
type Content map[string][]string

// subjects are the queries for each subject. A row is one text.
var subjects = map[string]string{
	"submissions": `
		SELECT concat_ws(' ', s.id, s.target, s.platforms, s.lane, 'state', s.state, s.reference, encode(s.digest, 'hex'), s.skipped, s.problem,
			(SELECT string_agg(encode(i.digest, 'hex'), ' ' ORDER BY i.digest) FROM image i WHERE i.id = ANY(s.image_ids)))
		FROM submission s`,
	"tags": `
		SELECT concat_ws(' ', t.reference, encode(t.digest, 'hex'),
			(SELECT string_agg(encode(i.digest, 'hex'), ' ' ORDER BY i.digest) FROM image i WHERE i.id = ANY(t.image_ids)))
		FROM tag t`,
	"layers": `
		SELECT concat_ws(' ', encode(digest, 'hex'), 'state', state, 'extractor', extractor, inflated, media_type, size_bytes, raw_bytes, md5(content))
		FROM layer`,
	"images": `
		SELECT concat_ws(' ', encode(i.digest, 'hex'), i.platform, 'state', i.state, i.built_at, i.problems, v.distribution, n.name,
			'layers', (SELECT string_agg(encode(l.digest, 'hex'), ' ' ORDER BY o.n) FROM unnest(i.layer_ids) WITH ORDINALITY o(id, n) JOIN layer l USING (id)),
			'in', (SELECT string_agg(r.location, ' ' ORDER BY r.location) FROM repository r WHERE r.id = ANY(i.repository_ids)))
		FROM image i LEFT JOIN inventory v ON v.id = i.inventory_id LEFT JOIN namespace n ON n.id = v.namespace_id`,
	// Origins of fewer than 128 layers are a byte each.
	"packages of images": `
		SELECT concat_ws(' ', encode(i.digest, 'hex'), count(*), md5(string_agg(
			concat_ws(' ', p.kind, p.name, p.version, p.arch, p.module, p.source_name, p.source_version, n.name, r.name, r.version, 'layer', get_byte(i.origins, o.n::int - 1)),
			E'\n' ORDER BY p.name, p.version, p.arch)))
		FROM image i JOIN inventory v ON v.id = i.inventory_id, unnest(v.package_ids) WITH ORDINALITY o(id, n)
		JOIN package p USING (id) JOIN release r ON r.id = p.release_id JOIN namespace n ON n.id = r.namespace_id
		GROUP BY i.digest`,
	"packages": `
		SELECT concat_ws(' ', p.kind, p.name, p.version, p.arch, p.module, p.source_name, p.source_version, r.name, r.version, s.name, s.version)
		FROM package p JOIN release r ON r.id = p.release_id LEFT JOIN release s ON s.id = p.source_release_id`,
	"inventories": `
		SELECT md5(string_agg(concat_ws(' ', p.kind, p.name, p.version, p.arch, v.distribution), E'\n' ORDER BY p.name, p.version, p.arch))
		FROM inventory v JOIN package p ON p.id = ANY(v.package_ids) GROUP BY v.id`,
	"releases": `
		SELECT concat_ws(' ', n.name, r.name, r.version, encode(r.key, 'hex'), r.problem) FROM release r JOIN namespace n ON n.id = r.namespace_id`,
	"advisories": `
		SELECT concat_ws(' ', s.name, a.name, a.aliases, a.severity, a.description, a.link, a.cvss) FROM advisory a JOIN source s ON s.id = a.source_id
		WHERE EXISTS (SELECT FROM affected f WHERE f.advisory_id = a.id)`,
	"ranges":    `SELECT ` + rangeText + ` FROM ` + rangeTables,
	"findings":  `SELECT concat_ws(' ', r.name, r.version, ` + rangeText + `) FROM finding x JOIN release r ON r.id = x.release_id JOIN ` + rangeTables + ` ON f.id = x.affected_id`,
	"undecided": `SELECT concat_ws(' ', r.name, r.version, ` + rangeText + `) FROM undecided x JOIN release r ON r.id = x.release_id JOIN ` + rangeTables + ` ON f.id = x.affected_id`,
	"changes": `
		SELECT concat_ws(' ', b.number, r.name, r.version, s.name, c.advisory, 'kind', c.kind, c.old_fixed, '>', c.new_fixed,
			c.old_severity, '>', c.new_severity, c.old_status, '>', c.new_status)
		FROM change c JOIN (SELECT id, row_number() OVER (ORDER BY id) AS number FROM change_batch) b ON b.id = c.batch_id
		JOIN release r ON r.id = c.release_id JOIN source s ON s.id = c.source_id
		WHERE substr(r.name, 5)::int < ` + firstOwn,
}

var firstOwn = fmt.Sprint(ownFirst)

const (
	rangeText   = `concat_ws(' ', f.name, a.name, '[', f.introduced, ',', f.fixed, ',', f.last, ') status', f.status, 'severity', f.severity, f.urgency, f.problem)`
	rangeTables = `(affected f JOIN advisory a ON a.id = f.advisory_id)`
)

// ReadContent reads what a database holds.
func ReadContent(ctx context.Context, dsn string) (Content, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "connect to", "database", err)
	}
	defer conn.Close(ctx)
	out := make(Content)
	for subject, query := range subjects {
		rows, err := conn.Query(ctx, query)
		if err == nil {
			out[subject], err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read", subject, err)
		}
		slices.Sort(out[subject])
	}
	return out, nil
}

// shownDifferences is how many rows of a subject are shown that one side has alone.
const shownDifferences = 5

// Diff says in which rows two contents differ, in some of them where there are many. It is empty where they do not.
func Diff(want, got Content) string {
	var out strings.Builder
	for _, subject := range slices.Sorted(maps.Keys(subjects)) {
		missing, extra := without(want[subject], got[subject]), without(got[subject], want[subject])
		if len(missing)+len(extra) == 0 {
			continue
		}
		fmt.Fprintf(&out, "%s: of %d rows %d are missing, and %d are there that should not be\n", subject, len(want[subject]), len(missing), len(extra))
		for _, row := range missing[:min(len(missing), shownDifferences)] {
			fmt.Fprintf(&out, "  - %s\n", row)
		}
		for _, row := range extra[:min(len(extra), shownDifferences)] {
			fmt.Fprintf(&out, "  + %s\n", row)
		}
	}
	return out.String()
}

// without returns the rows of a that b does not have, each as often as that is so. Both are sorted.
func without(a, b []string) []string {
	var out []string
	for _, row := range a {
		for len(b) > 0 && b[0] < row {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == row {
			b = b[1:]
			continue
		}
		out = append(out, row)
	}
	return out
}

// laws are counts that have to be zero in any database in which nothing is under way.
var laws = map[string]string{
	"edges that are left":              `SELECT count(*) FROM pending_layer`,
	"submissions that are not done":    `SELECT count(*) FROM submission WHERE state <> 1`,
	"images that are not complete":     `SELECT count(*) FROM image WHERE state <> 1 OR inventory_id IS NULL OR completed_at IS NULL`,
	"layers that are not analyzed":     `SELECT count(*) FROM layer WHERE state <> 2`,
	"findings that are missing":        `SELECT count(*) FROM (` + truth + ` EXCEPT SELECT release_id, affected_id FROM finding) x`,
	"findings that are too many":       `SELECT count(*) FROM (SELECT release_id, affected_id FROM finding EXCEPT ` + truth + `) x`,
	"inventories that no image has":    `SELECT count(*) FROM inventory v WHERE NOT EXISTS (SELECT FROM image i WHERE i.inventory_id = v.id)`,
	"changes that are told twice":      `SELECT count(*) FROM (SELECT FROM change GROUP BY release_id, advisory, kind, old_fixed, new_fixed, old_severity, new_severity, old_status, new_status HAVING count(*) > 1) x`,
	"changes that told nothing new":    `SELECT count(*) FROM change WHERE kind NOT IN (1, 2) AND (old_fixed, old_severity, old_status) IS NOT DISTINCT FROM (new_fixed, new_severity, new_status)`,
	"batches of changes without a row": `SELECT count(*) FROM change_batch b WHERE NOT EXISTS (SELECT FROM change c WHERE c.batch_id = b.id)`,
}

// truth is what the findings are by definition.
const truth = `
	SELECT r.id, a.id FROM release r JOIN affected a ON a.namespace_id = r.namespace_id AND a.name = r.name
	WHERE a.introduced_key <= r.key AND (a.fixed_key IS NULL OR r.key < a.fixed_key) AND a.status BETWEEN 1 AND 5`

// broken returns the laws that a database breaks, by how much.
func broken(ctx context.Context, dsn string) ([]string, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "connect to", "database", err)
	}
	defer conn.Close(ctx)
	var out []string
	for _, what := range slices.Sorted(maps.Keys(laws)) {
		var n int
		if err := conn.QueryRow(ctx, laws[what]).Scan(&n); err != nil {
			return nil, fault.New(fault.Unavailable, "count", what, err)
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, what))
		}
	}
	return out, nil
}
