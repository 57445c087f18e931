package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// Report returns the report of an image as of now. An image that is not there is a fault of kind
// NotFound; one that has no result yet gives a report in state pending, with nothing found.
//
// It is read in one snapshot, in four round trips.
func (s *Store) Report(ctx context.Context, image digest.Digest) (*report.Report, error) {
	var out *report.Report
	err := s.read(ctx, "read report", func(tx pgx.Tx) error {
		r := &reporting{report: &report.Report{SchemaVersion: report.SchemaVersion}}
		if err := r.readImage(ctx, tx, image); err != nil {
			return err
		}
		if err := r.readRest(ctx, tx); err != nil {
			return err
		}
		if err := r.enrich(ctx, tx); err != nil {
			return err
		}
		r.finish()
		out = r.report
		return nil
	})
	return out, err
}

// reporting is the state of one Report.
type reporting struct {
	report *report.Report
	distro distro.Distribution

	layerIDs    []int32
	layers      []report.Layer
	packageIDs  []int32
	origins     []byte
	namespaceID *int16
	packages    map[int32]reportPackage
	problems    []inventory.LayerProblem
	spoken      []coverage
}

// reportPackage is an installed package, and the problem of its release.
type reportPackage struct {
	report.Package
	problem string
}

// coverage is a source and what it says of the image's namespace.
type coverage struct {
	name    string
	covers  []string
	speaks  bool // a feed that was read speaks for the namespace
	read    bool // some feed of the source was read
	looked  bool // a run looked for its feeds
	updated time.Time
	checked time.Time
	err     string
}

func (r *reporting) readImage(ctx context.Context, tx pgx.Tx, image digest.Digest) error {
	var state ImageState
	var namespace *string
	var problems, distribution []byte
	err := tx.QueryRow(ctx, `
		SELECT now(), i.platform, i.state, i.layer_ids, coalesce(i.origins, ''), i.problems,
			v.package_ids, v.distribution, v.namespace_id, n.name
		FROM image i LEFT JOIN inventory v ON v.id = i.inventory_id LEFT JOIN namespace n ON n.id = v.namespace_id
		WHERE i.digest = $1`, image.Bytes()).Scan(&r.report.Generated, &r.report.Image.Platform, &state, &r.layerIDs, &r.origins, &problems,
		&r.packageIDs, &distribution, &r.namespaceID, &namespace)
	if err != nil {
		return notFound(err, "read report", image.String(), "no such image has been submitted")
	}
	r.report.Generated = r.report.Generated.UTC()
	r.report.Image.Digest = image
	r.report.State = [...]report.State{report.Pending, report.Complete, report.Incomplete}[state]
	if distribution != nil {
		if err := json.Unmarshal(distribution, &r.distro); err != nil {
			return err
		}
		d := r.distro
		own, _ := d.Namespace()
		r.report.Distribution = report.Distribution{ID: d.ID, Version: d.VersionID, Codename: d.Codename, Name: d.Pretty, Namespace: own}
	}
	if namespace != nil {
		r.report.Coverage.Namespace = *namespace
	}
	if problems != nil {
		return json.Unmarshal(problems, &r.problems)
	}
	return nil
}

func (r *reporting) readRest(ctx context.Context, tx pgx.Tx) error {
	batch := &pgx.Batch{}
	batch.Queue(`
		SELECT l.digest, l.size_bytes, l.state, l.problem
		FROM unnest($1::int[]) WITH ORDINALITY AS v(id, position) JOIN layer l USING (id) ORDER BY v.position`,
		r.layerIDs).Query(r.scanLayers)
	batch.Queue(`
		SELECT p.id, p.name, p.version, p.arch, p.kind, p.source_name, p.source_version, coalesce(r.problem, ''),
			r.namespace_id IS DISTINCT FROM $2
		FROM package p JOIN release r ON r.id = p.release_id WHERE p.id = ANY($1)`,
		r.packageIDs, r.namespaceID).Query(r.scanPackages)
	const match = `
		SELECT p.id, v.name, v.aliases, v.severity, v.description, v.link, v.cvss, v.weaknesses, a.fixed, a.fixed_key, a.status, a.severity, a.urgency,
			coalesce(a.problem, ''), s.name
		FROM package p JOIN %s f ON f.release_id IN (p.release_id, p.source_release_id)
		JOIN affected a ON a.id = f.affected_id JOIN advisory v ON v.id = a.advisory_id JOIN source s ON s.id = v.source_id
		WHERE p.id = ANY($1)`
	batch.Queue(fmt.Sprintf(match, "finding"), r.packageIDs).Query(r.scanFindings)
	batch.Queue(fmt.Sprintf(match, "undecided"), r.packageIDs).Query(r.scanUndecided)
	batch.Queue(`
		SELECT s.name, s.covers, coalesce(bool_or(fn.namespace_id IS NOT NULL AND f.changed_at IS NOT NULL), false),
			coalesce(bool_or(f.changed_at IS NOT NULL), false), s.run_at IS NOT NULL,
			coalesce(max(f.changed_at) FILTER (WHERE fn.namespace_id IS NOT NULL), 'epoch'),
			coalesce(min(f.checked_at) FILTER (WHERE fn.namespace_id IS NOT NULL), 'epoch'),
			coalesce(nullif(max(f.error) FILTER (WHERE fn.namespace_id IS NOT NULL OR f.changed_at IS NULL), ''), s.error)
		FROM source s LEFT JOIN feed f ON f.source_id = s.id
		LEFT JOIN feed_namespace fn ON fn.feed_id = f.id AND fn.namespace_id = $1
		GROUP BY s.id ORDER BY s.name`, r.namespaceID).Query(r.scanCoverage)
	return tx.SendBatch(ctx, batch).Close()
}

func (r *reporting) scanLayers(rows pgx.Rows) error {
	for rows.Next() {
		var sum []byte
		var layer report.Layer
		var state layerState
		var problem *Problem
		if err := rows.Scan(&sum, &layer.Size, &state, &problem); err != nil {
			return err
		}
		var err error
		if layer.Digest, err = digest.FromBytes(sum); err != nil {
			return err
		}
		layer.State = state.String()
		r.layers = append(r.layers, layer)
		if state == layerFailed && problem != nil {
			r.report.Coverage.Failed = append(r.report.Coverage.Failed,
				report.Failed{Layer: layer.Digest, Kind: problem.Kind, Reason: problem.Reason})
		}
	}
	return rows.Err()
}

func (r *reporting) scanPackages(rows pgx.Rows) error {
	r.packages = make(map[int32]reportPackage, len(r.packageIDs))
	for rows.Next() {
		var id int32
		var p reportPackage
		var foreign bool
		err := rows.Scan(&id, &p.Name, &p.Version, &p.Arch, &p.Kind, &p.Source.Name, &p.Source.Version, &p.problem, &foreign)
		if err != nil {
			return err
		}
		if foreign && p.problem == "" && r.namespaceID != nil {
			p.problem = fmt.Sprintf("no source covers %s packages on %s", p.Kind, r.report.Distribution.Namespace)
		}
		r.packages[id] = p
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for i, layer := range decodeOrigins(r.origins, len(r.packageIDs)) {
		id := r.packageIDs[i]
		p, ok := r.packages[id]
		if !ok {
			return errBug("package %d of the inventory is missing", id)
		}
		if layer < len(r.layers) {
			p.Layer = r.layers[layer].Digest
		}
		p.PURL = inventory.PURL(r.distro, inventory.Package{
			Kind: inventory.Kind(p.Kind), Name: p.Name, Version: p.Version, Arch: p.Arch,
			SourceName: p.Source.Name, SourceVersion: p.Source.Version,
		})
		r.packages[id] = p
	}
	return nil
}

// matchRow is a row of the two queries that pair packages with advisories.
type matchRow struct {
	packageID     int32
	finding       report.Finding
	severity      advisory.Severity // of the advisory as a whole
	description   string
	end           []byte // sort key of the fixed version; nil for none
	affectProblem string
}

func scanMatch(rows pgx.Rows) (m matchRow, err error) {
	f := &m.finding
	err = rows.Scan(&m.packageID, &f.ID, &f.Aliases, &m.severity, &m.description, &f.Link, &f.CVSS, &f.CWE, &f.Fixed, &m.end, &f.State, &f.Severity, &f.Urgency,
		&m.affectProblem, &f.Source)
	return m, err
}

func (r *reporting) scanFindings(rows pgx.Rows) error {
	// The same advisory of the same source may reach a package by two ranges. The package is
	// vulnerable until it is past both, so the one that ends later stands.
	type reached struct {
		at  int
		end []byte
	}
	best := make(map[string]reached)
	for rows.Next() {
		m, err := scanMatch(rows)
		if err != nil {
			return err
		}
		p := r.packages[m.packageID]
		f := m.finding
		f.Package, f.Arch, f.Installed, f.Layer = p.Name, p.Arch, p.Version, p.Layer
		f.Title = firstLine(m.description)
		if f.Severity == advisory.Unknown {
			f.Severity = m.severity
		}
		if f.Severity != advisory.Unknown {
			f.SeverityBy = f.Source
		}
		f.CVSS, f.CWE = notNil(f.CVSS), notNil(f.CWE)
		key := fmt.Sprint(m.packageID, " ", f.Source, " ", f.ID)
		before, again := best[key]
		switch {
		case !again:
			best[key] = reached{len(r.report.Findings), m.end}
			r.report.Findings = append(r.report.Findings, f)
		case before.end != nil && (m.end == nil || bytes.Compare(m.end, before.end) > 0):
			best[key] = reached{before.at, m.end}
			r.report.Findings[before.at] = f
		}
	}
	return rows.Err()
}

func (r *reporting) scanUndecided(rows pgx.Rows) error {
	for rows.Next() {
		m, err := scanMatch(rows)
		if err != nil {
			return err
		}
		p := r.packages[m.packageID]
		u := report.Undecided{ID: m.finding.ID, Package: p.Name, Version: p.Version, Source: m.finding.Source}
		switch {
		case p.problem != "":
			u.Reason = p.problem
		case m.affectProblem != "":
			u.Reason = m.affectProblem
		default:
			u.Reason = "the source has not decided whether this version is affected"
		}
		r.report.Coverage.Undecided = append(r.report.Coverage.Undecided, u)
	}
	return rows.Err()
}

func (r *reporting) scanCoverage(rows pgx.Rows) error {
	for rows.Next() {
		var c coverage
		if err := rows.Scan(&c.name, &c.covers, &c.speaks, &c.read, &c.looked, &c.updated, &c.checked, &c.err); err != nil {
			return err
		}
		c.updated, c.checked = fromEpoch(c.updated), fromEpoch(c.checked)
		r.spoken = append(r.spoken, c)
	}
	return rows.Err()
}

// finish orders the lists and says what the report covers.
func (r *reporting) finish() {
	out := r.report
	out.Layers = notNil(r.layers)
	for _, id := range r.packageIDs {
		out.Packages = append(out.Packages, r.packages[id].Package)
	}
	slices.SortFunc(out.Packages, func(a, b report.Package) int {
		return strings.Compare(a.Name+"\x00"+a.Version+"\x00"+a.Arch, b.Name+"\x00"+b.Version+"\x00"+b.Arch)
	})
	slices.SortFunc(out.Findings, func(a, b report.Finding) int {
		if a.Severity != b.Severity {
			return int(b.Severity) - int(a.Severity)
		}
		return strings.Compare(a.Package+"\x00"+a.Arch+"\x00"+a.ID+"\x00"+a.Source, b.Package+"\x00"+b.Arch+"\x00"+b.ID+"\x00"+b.Source)
	})
	out.Packages, out.Findings = notNil(out.Packages), notNil(out.Findings)
	for _, p := range r.problems {
		failed := report.Failed{Path: p.Path, Kind: p.Kind, Reason: p.Detail}
		if p.Layer < len(r.layers) {
			failed.Layer = r.layers[p.Layer].Digest
		}
		out.Coverage.Failed = append(out.Coverage.Failed, failed)
	}
	r.coverage()
	out.Summarize()
}

// coverage says what an absence of findings means for this image.
func (r *reporting) coverage() {
	out, c := r.report, &r.report.Coverage
	namespace := c.Namespace
	named := make(map[string]bool)
	for _, u := range c.Undecided {
		named[u.Package+"\x00"+u.Version] = true
	}
	for _, id := range r.packageIDs {
		if p := r.packages[id]; p.problem != "" && !named[p.Name+"\x00"+p.Version] {
			c.Undecided = append(c.Undecided, report.Undecided{Package: p.Name, Version: p.Version, Reason: p.problem})
		}
	}
	var silent []string
	absent := false
	for _, s := range r.spoken {
		if namespace == "" || (!s.speaks && !coversNamespace(s.covers, namespace)) {
			continue
		}
		if s.read && !s.speaks {
			silent = append(silent, s.name)
			continue
		}
		source := report.CoverageSource{Name: s.name, Error: s.err}
		if s.speaks {
			source.Updated, source.Checked = timeOrNil(s.updated), timeOrNil(s.checked)
			c.Status = report.Covered
		} else if c.Status == "" {
			c.Status = report.NotYetRead
		}
		absent = absent || (s.looked && !s.read && s.err == "")
		c.Sources = append(c.Sources, source)
	}
	switch {
	case out.State == report.Pending:
		c.Status, c.Note = report.NotYetRead, "the image has not been analyzed yet"
	case len(out.Packages) == 0:
		c.Status, c.Note = report.NoPackages, "no package database was found, so nothing can be said about this image"
		if len(c.Failed) > 0 {
			c.Note = "no package could be read, and something could not be looked at, so nothing can be said about this image"
		}
	case namespace == "":
		c.Status, c.Note = report.NoDistribution, "nothing in the image tells its distribution, so its packages could not be compared with any advisory"
	case c.Status == report.Covered && len(c.Failed)+len(c.Undecided) > 0:
		c.Status, c.Note = report.Partial, "advisories for "+namespace+" were compared with what could be read, and something could not be read or compared"
	case c.Status == report.Covered:
		c.Note = "advisories for " + namespace + " were compared with every package"
	case c.Status == report.NotYetRead && absent:
		c.Note = "advisories for " + namespace + " were looked for, and there were none; trawl feeds list tells of the sources"
	case c.Status == report.NotYetRead:
		c.Note = "the advisories for " + namespace + " have not been read yet; run trawl update"
	case len(silent) > 0:
		c.Status, c.Note = report.NoSource, fmt.Sprintf("%s lists nothing for %s (it may be past its end of life), so its packages were not compared with any advisory", strings.Join(silent, " and "), namespace)
	default:
		c.Status, c.Note = report.NoSource, "no source of advisories covers "+namespace+", so its packages were not compared with any"
	}
	c.Sources, c.Undecided, c.Failed = notNil(c.Sources), notNil(c.Undecided), notNil(c.Failed)
}

// coversNamespace reports whether one of the patterns matches.
func coversNamespace(patterns []string, namespace string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return ok && err == nil
	})
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// notNil makes an absent list an empty one, which is what it is in JSON.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
