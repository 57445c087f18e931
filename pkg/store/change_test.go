package store

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/inventory"
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

func TestPartialFeed(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	submit(t, s, 1, "app", job.Now, "base")
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1.5", "perl 5.36")))
	cve := func(id string, ranges ...advisory.Range) advisory.Record {
		return advisory.Record{ID: id, Affected: ranges}
	}
	applyFeed(t, s, feedOf(1,
		cve("CVE-1", rangeOf("zlib", "", advisory.Affected, 0)),
		cve("CVE-2", rangeOf("zlib", "1.7", advisory.Fixed, 0), rangeOf("perl", "6", advisory.Fixed, 0)),
		cve("CVE-3", rangeOf("zlib", "1.8", advisory.Fixed, 0))))

	part := feedOf(2, cve("CVE-2", rangeOf("zlib", "1.9", advisory.Fixed, 0)), cve("CVE-3"), cve("CVE-4", rangeOf("perl", "7", advisory.Fixed, 0)))
	part.Partial, part.Checksum, part.Cursor = true, nil, "up to here"
	delta := applyFeed(t, s, part)
	want := []string{"perl CVE-4 7", "zlib CVE-1", "zlib CVE-2 1.9"}
	if diff := cmp.Diff(want, found(readReport(t, s, "app"))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if delta.Ranges != 3 || delta.Removed != 3 || delta.Added != 2 || delta.Changes != 4 {
		t.Errorf("delta %+v", delta)
	}
	feeds, err := s.Feeds(t.Context(), "debian")
	if f := feeds["https://tracker.example/json"]; err != nil || f.Cursor != "up to here" || f.Ranges != 3 {
		t.Errorf("feed %+v, %v", f, err)
	}
}

func TestBadRecordsWithdrawNothing(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	submit(t, s, 1, "app", job.Now, "base")
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1.5", "perl 5.36")))
	applyFeed(t, s, debianFeed("1", "zlib CVE-1 2", "zlib CVE-2 2", "perl CVE-2 6", "perl CVE-3 6"))

	broken := debianFeed("2")
	broken.Records = func(yield func(advisory.Record, error) bool) {
		_ = yield(advisory.Record{}, &advisory.BadRecord{Subject: "zlib/CVE-1", ID: "CVE-1", Name: "zlib"}) &&
			yield(advisory.Record{}, &advisory.BadRecord{Subject: "perl/CVE-2", ID: "CVE-2", Name: "perl"}) &&
			yield(advisory.Record{}, &advisory.BadRecord{Subject: "somewhere"})
	}
	broken.AcceptShrink = true
	delta := applyFeed(t, s, broken)
	if diff := cmp.Diff([]string{"perl CVE-2 6", "zlib CVE-1 2"}, found(readReport(t, s, "app"))); diff != "" || delta.Bad != 3 {
		t.Errorf("%d bad; findings (-want +got):\n%s", delta.Bad, diff)
	}
	broken.Checksum = blob("3").Bytes()
	broken.Records = func(yield func(advisory.Record, error) bool) {
		yield(advisory.Record{}, &advisory.BadRecord{Subject: "package 7", Name: "perl"})
	}
	applyFeed(t, s, broken)
	if diff := cmp.Diff([]string{"perl CVE-2 6"}, found(readReport(t, s, "app"))); diff != "" {
		t.Errorf("a package that cannot be read; findings (-want +got):\n%s", diff)
	}
}

func TestRangesAboutSourcePackages(t *testing.T) {
	s := openStore(t)
	if err := s.RegisterSources(t.Context(), []advisory.Source{{Name: "redhat", Covers: []string{"rhel:*"}}}); err != nil {
		t.Fatal(err)
	}
	submit(t, s, 1, "app", job.Now, "base")
	layer := &inventory.Layer{
		Releases: []inventory.ReleaseFile{{Path: "etc/os-release", Distribution: distro.Distribution{ID: "rhel", VersionID: "9.2"}}},
		Databases: []inventory.Database{{Path: "var/lib/rpm/rpmdb.sqlite", Kind: inventory.RPM, Packages: []inventory.Package{
			{Kind: inventory.RPM, Name: "openssl-libs", Version: "1:3.0.7-2.el9", Arch: "x86_64", SourceName: "openssl", SourceVersion: "3.0.7-2.el9"},
		}}},
	}
	commitLayers(t, s, analyzed("base", layer))
	rpm := func(name, fixed string, status advisory.Status) advisory.Range {
		return advisory.Range{Namespace: "rhel:9", Scheme: version.RPM, Name: name, Fixed: fixed, Status: status}
	}
	content := feedOf(1,
		advisory.Record{ID: "CVE-1", Affected: []advisory.Range{rpm("openssl-libs", "1:3.0.7-9.el9", advisory.Fixed)}},
		advisory.Record{ID: "CVE-2", Affected: []advisory.Range{rpm("openssl.src", "", advisory.Affected)}},
		advisory.Record{ID: "CVE-3", Affected: []advisory.Range{rpm("openssl", "", advisory.Affected)}})
	content.Source = "redhat"
	applyFeed(t, s, content)
	if diff := cmp.Diff([]string{"openssl-libs CVE-1 1:3.0.7-9.el9", "openssl-libs CVE-2"}, found(readReport(t, s, "app"))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
