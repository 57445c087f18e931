package store

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// rangeOf returns a range of Debian 12 that releases before fixed lie in.
func rangeOf(name, fixed string, status advisory.Status, severity advisory.Severity) advisory.Range {
	return advisory.Range{Namespace: "debian:12", Scheme: version.Dpkg, Name: name, Fixed: fixed, Status: status, Severity: severity}
}

// feedOf returns a version of a feed with these records.
func feedOf(n int, list ...advisory.Record) FeedContent {
	return FeedContent{
		Source: "debian", URL: "https://tracker.example/json", Checksum: blob(fmt.Sprint("feed ", n)).Bytes(), AcceptShrink: true,
		Records: func(yield func(advisory.Record, error) bool) {
			for _, r := range list {
				if !yield(r, nil) {
					return
				}
			}
		},
	}
}

// newChanges returns what batches after *seen say, a line each, and moves *seen.
func newChanges(t *testing.T, s *Store, seen *int64) []string {
	t.Helper()
	defer func() {
		if err := s.pool.QueryRow(t.Context(), `SELECT coalesce(max(id), 0) FROM change_batch`).Scan(seen); err != nil {
			t.Error(err)
		}
	}()
	rows, err := s.pool.Query(t.Context(), `
		SELECT c.kind, r.name, r.version, c.advisory, coalesce(c.old_fixed, '?'), coalesce(c.new_fixed, '?'),
			coalesce(c.old_severity, -1), coalesce(c.new_severity, -1), coalesce(c.old_status, -1), coalesce(c.new_status, -1)
		FROM change c JOIN release r ON r.id = c.release_id WHERE c.batch_id > $1 ORDER BY r.name, c.advisory`, *seen)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := []string{}
	for rows.Next() {
		var kind, oldSeverity, newSeverity, oldStatus, newStatus int
		var name, v, id, oldFixed, newFixed string
		if err := rows.Scan(&kind, &name, &v, &id, &oldFixed, &newFixed, &oldSeverity, &newSeverity, &oldStatus, &newStatus); err != nil {
			t.Fatal(err)
		}
		what := [...]string{"", "new", "withdrawn", "fix", "severity", "status"}[kind]
		out = append(out, fmt.Sprintf("%s %s %s %s: fixed %q→%q severity %d→%d status %d→%d",
			what, name, v, id, oldFixed, newFixed, oldSeverity, newSeverity, oldStatus, newStatus))
	}
	return out
}

func TestChanges(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	submit(t, s, 1, "app", job.Now, "base")
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1.5", "perl 5.36")))

	var seen int64
	type step struct {
		name    string
		records []advisory.Record
		want    []string
	}
	cve := func(id string, severity advisory.Severity, ranges ...advisory.Range) advisory.Record {
		return advisory.Record{ID: id, Severity: severity, Affected: ranges}
	}
	for n, c := range []step{
		{"the first reading is no news", []advisory.Record{
			cve("CVE-1", 0, rangeOf("zlib", "", advisory.Affected, advisory.Low)),
			cve("CVE-2", advisory.Low, rangeOf("zlib", "1.7", advisory.Fixed, 0)),
			cve("CVE-3", 0, rangeOf("zlib", "1.8", advisory.Fixed, 0), rangeOf("zlib", "1.9", advisory.Fixed, 0)),
			cve("CVE-4", 0, rangeOf("perl", "", advisory.Affected, 0)),
		}, []string{}},
		{"a fix, a severity of the advisory, a range that another outlasts, an intention", []advisory.Record{
			cve("CVE-1", 0, rangeOf("zlib", "1.6", advisory.Fixed, advisory.Low)),
			cve("CVE-2", advisory.High, rangeOf("zlib", "1.7", advisory.Fixed, 0)),
			cve("CVE-3", 0, rangeOf("zlib", "1.9", advisory.Fixed, 0)),
			cve("CVE-4", 0, rangeOf("perl", "", advisory.WillNotFix, 0)),
		}, []string{
			`status perl 5.36 CVE-4: fixed ""→"" severity 0→0 status 1→3`,
			`fix zlib 1.5 CVE-1: fixed ""→"1.6" severity 2→2 status 1→2`,
			`severity zlib 1.5 CVE-2: fixed "1.7"→"1.7" severity 2→4 status 2→2`,
		}},
		{"withdrawn, new, and one that the release turns out to be past", []advisory.Record{
			cve("CVE-1", 0, rangeOf("zlib", "1.5", advisory.Fixed, advisory.Low)),
			cve("CVE-2", advisory.High, rangeOf("zlib", "1.7", advisory.Fixed, advisory.Critical)),
			cve("CVE-3", 0, rangeOf("zlib", "1.9", advisory.Fixed, 0)),
			cve("CVE-5", 0, rangeOf("perl", "5.40", advisory.Fixed, 0)),
		}, []string{
			`withdrawn perl 5.36 CVE-4: fixed ""→"?" severity 0→-1 status 3→-1`,
			`new perl 5.36 CVE-5: fixed "?"→"5.40" severity -1→0 status -1→2`,
			`withdrawn zlib 1.5 CVE-1: fixed "1.6"→"?" severity 2→-1 status 2→-1`,
			`severity zlib 1.5 CVE-2: fixed "1.7"→"1.7" severity 4→5 status 2→2`,
		}},
		{"what changes for nobody is no change", []advisory.Record{
			cve("CVE-1", 0, rangeOf("zlib", "1.4", advisory.Fixed, advisory.Low)),
			cve("CVE-2", advisory.Low, rangeOf("zlib", "1.7", advisory.Fixed, advisory.Critical)),
			cve("CVE-3", 0, rangeOf("zlib", "1.9", advisory.Fixed, 0)),
			cve("CVE-5", 0, rangeOf("perl", "5.40", advisory.Fixed, 0), rangeOf("curl", "7", advisory.Fixed, 0)),
		}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			delta := applyFeed(t, s, feedOf(n, c.records...))
			if diff := cmp.Diff(c.want, newChanges(t, s, &seen)); diff != "" || delta.Changes != len(c.want) {
				t.Errorf("%d changes (-want +got):\n%s", delta.Changes, diff)
			}
		})
	}
}
