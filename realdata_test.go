package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/osv-scalibr/semantic"

	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// These tests scan real images with real advisories, and find out again by another, slow way what the reports have to
// say: the images are put together by go-containerregistry, the package databases and the advisories are read with a few
// regular expressions and encoding/json, and versions are compared by dpkg itself and by osv-scalibr.

// realTargets returns all images, and the roots, of which tar files are made.
func realTargets(t *testing.T, data string) map[string]string {
	t.Helper()
	targets := make(map[string]string)
	images, err := os.ReadDir(filepath.Join(data, "images"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range images {
		targets[file.Name()] = filepath.Join(data, "images", file.Name())
	}
	roots, err := os.ReadDir(filepath.Join(data, "roots"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, root := range roots {
		target := filepath.Join(dir, root.Name()+".tar")
		if err := writeArchive("rootfs", target, filepath.Join(data, "roots", root.Name())); err != nil {
			t.Fatal(err)
		}
		targets["roots/"+root.Name()] = "rootfs:" + target
	}
	return targets
}

// TestAccuracy scans every real image. What was found stands in a golden file that a person can read; a change of it is
// to be reviewed like code.
func TestAccuracy(t *testing.T) {
	data := realdata.Path(t, "")
	targets := realTargets(t, data)
	s := newScanner(t)
	s.shared[3] = filepath.Join(data, "feeds")
	var golden strings.Builder
	fmt.Fprintf(&golden, "%-48s %8s %8s %9s %6s  %-12s  %-18s %4s\n", "image", "packages", "findings", "undecided", "failed", "coverage", "namespace", "exit")
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := s.run("scan", "-o", "json", targets[name])
			reports := parseReports(t, stdout)
			if len(reports) != 1 {
				t.Fatalf("exit code %d, %d reports: %s", code, len(reports), stderr)
			}
			r := reports[0]
			fmt.Fprintf(&golden, "%-48s %8d %8d %9d %6d  %-12s  %-18s %4d\n", name, len(r.Packages), len(r.Findings),
				len(r.Coverage.Undecided), len(r.Coverage.Failed), r.Coverage.Status, r.Coverage.Namespace, code)
			checkReport(t, data, targets[name], r)
		})
	}
	compareGolden(t, "testdata/accuracy.golden", golden.String())
}

// compareGolden holds text against a file, or writes the file where that is wanted.
func compareGolden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); diff != "" {
		t.Errorf("%s (- want, + got; -update accepts it):\n%s", file, diff)
	}
}

// installed is a package as the slow way sees it.
type installed struct{ name, version, arch, source, sourceVersion string }

// checkReport compares a report with what the slow way says.
func checkReport(t *testing.T, data, target string, r *report.Report) {
	t.Helper()
	files := readImage(t, target)
	var want []installed
	switch {
	case files["var/lib/dpkg/status"] != nil:
		want = dpkgPackages(string(files["var/lib/dpkg/status"]))
	case files["lib/apk/db/installed"] != nil:
		want = apkPackages(string(files["lib/apk/db/installed"]))
	default:
		return // rpm's databases have no slow way; package extract holds them against rpm itself
	}
	var got []installed
	for _, p := range r.Packages {
		got = append(got, installed{p.Name, p.Version, p.Arch, p.Source.Name, p.Source.Version})
	}
	if diff := cmp.Diff(packageLines(want), packageLines(got)); diff != "" {
		t.Errorf("packages (- database, + report):\n%s", diff)
	}
	osRelease := string(files["etc/os-release"]) + string(files["usr/lib/os-release"])
	var matches func(installed, string) []string
	switch field(osRelease, "ID") {
	case "debian":
		matches = debianTracker(t, data)
	case "alpine":
		matches = alpineDatabase(t, data, osRelease)
	default:
		return // there is no slow way of reading what others publish
	}
	undecided := make(map[string]bool) // named in the report, so not passed over in silence
	for _, u := range r.Coverage.Undecided {
		undecided[u.Package+" "+u.ID] = true
	}
	var wanted, found []string
	for _, p := range want {
		for _, id := range matches(p, field(osRelease, "VERSION_ID")) {
			if !undecided[p.name+" "+id] {
				wanted = append(wanted, p.name+" "+p.arch+" "+id)
			}
		}
	}
	for _, f := range r.Findings {
		found = append(found, f.Package+" "+f.Arch+" "+f.ID)
	}
	slices.Sort(wanted)
	slices.Sort(found)
	if diff := cmp.Diff(slices.Compact(wanted), found); diff != "" {
		t.Errorf("findings (- slow way, + report):\n%s", diff)
	}
}

func packageLines(list []installed) []string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s %s %s from %s %s", p.name, p.version, p.arch, p.source, p.sourceVersion))
	}
	slices.Sort(out)
	return out
}

// databases are the files that readImage keeps.
var databases = regexp.MustCompile(`^(\./)?((usr/lib|etc)/os-release|var/lib/dpkg/status|lib/apk/db/installed)$`)

// readImage returns the files of an archive that tell what is installed, as they are in the topmost layer.
func readImage(t *testing.T, target string) map[string][]byte {
	t.Helper()
	var content io.Reader
	path := strings.TrimPrefix(target, "rootfs:")
	if strings.Contains(path, "docker-") {
		image, err := tarball.Image(func() (io.ReadCloser, error) { return openPlain(path) }, nil)
		if err != nil {
			t.Fatal(err)
		}
		flat := mutate.Extract(image)
		defer flat.Close()
		content = flat
	} else {
		file, err := openPlain(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		content = file
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if !databases.MatchString(h.Name) || h.Typeflag != tar.TypeReg {
			continue
		}
		if files[strings.TrimPrefix(h.Name, "./")], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// openPlain opens a file that may be compressed by gzip.
func openPlain(path string) (io.ReadCloser, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
		return z, nil
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// field returns the value of NAME=value, "Name: value" or "N:value", the last one where there are several.
func field(text, name string) string {
	all := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`[=:][ "']*([^"'\n]*)`).FindAllStringSubmatch(text, -1)
	if all == nil {
		return ""
	}
	return strings.TrimSpace(all[len(all)-1][1])
}

func dpkgPackages(status string) []installed {
	var out []installed
	for stanza := range strings.SplitSeq(status, "\n\n") {
		words := strings.Fields(field(stanza, "Status"))
		if len(words) != 3 || words[2] != "installed" {
			continue
		}
		p := installed{name: field(stanza, "Package"), version: field(stanza, "Version"), arch: field(stanza, "Architecture")}
		p.source, p.sourceVersion, _ = strings.Cut(field(stanza, "Source"), " (")
		p.sourceVersion = strings.TrimSuffix(p.sourceVersion, ")")
		if p.source == "" {
			p.source = p.name
		}
		if p.sourceVersion == "" {
			p.sourceVersion = p.version
		}
		out = append(out, p)
	}
	return out
}

func apkPackages(database string) []installed {
	var out []installed
	for stanza := range strings.SplitSeq(database, "\n\n") {
		p := installed{name: field(stanza, "P"), version: field(stanza, "V"), arch: field(stanza, "A"), source: field(stanza, "o")}
		if p.name == "" {
			continue
		}
		if p.source == "" {
			p.source = p.name
		}
		p.sourceVersion = p.version
		out = append(out, p)
	}
	return out
}

// codenames are Debian's, by the number in os-release.
var codenames = map[string]string{"8": "jessie", "9": "stretch", "10": "buster", "11": "bullseye", "12": "bookworm"}

// debianTracker returns a function that goes through all that the tracker says of a package's source.
func debianTracker(t *testing.T, data string) func(installed, string) []string {
	t.Helper()
	var tracker map[string]map[string]struct {
		Releases map[string]struct {
			Status       string `json:"status"`
			FixedVersion string `json:"fixed_version"`
		} `json:"releases"`
	}
	readJSON(t, filepath.Join(data, "feeds/security-tracker.debian.org/tracker/data/json.gz"), &tracker)
	return func(p installed, version string) []string {
		var ids []string
		for id, entry := range tracker[p.source] {
			release, ok := entry.Releases[codenames[version]]
			if !ok || (release.Status == "resolved" && (release.FixedVersion == "0" || !dpkgLess(t, p.sourceVersion, release.FixedVersion))) {
				continue
			}
			ids = append(ids, id)
		}
		return ids
	}
}

// dpkgLess asks dpkg, once for each pair of versions.
func dpkgLess(t *testing.T, a, b string) bool {
	t.Helper()
	if less, known := dpkgSaid[[2]string{a, b}]; known {
		return less
	}
	err := exec.Command("dpkg", "--compare-versions", a, "lt", b).Run()
	var exit *exec.ExitError
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no dpkg: what is found in Debian's images is not checked")
	}
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("dpkg --compare-versions %s lt %s: %v", a, b, err)
	}
	dpkgSaid[[2]string{a, b}] = err == nil
	return err == nil
}

// dpkgSaid remembers dpkg's answers.
var dpkgSaid = make(map[[2]string]bool)

// identifier finds what an entry of the security database names: CVEs, or something of Alpine's own.
var identifier = regexp.MustCompile(`CVE-\d{4}-\d{4,}|^ALPINE-\d+$`)

// alpineDatabase returns a function that goes through all that the security database says of a package's origin.
func alpineDatabase(t *testing.T, data, osRelease string) func(installed, string) []string {
	t.Helper()
	parts := strings.SplitN(field(osRelease, "VERSION_ID"), ".", 3)
	fixes := make(map[string]map[string][]string) // origin, version, what it fixed
	for _, repository := range []string{"main", "community"} {
		file := filepath.Join(data, "feeds/secdb.alpinelinux.org", "v"+strings.Join(parts[:2], "."), repository+".json")
		if _, err := os.Stat(file); err != nil {
			continue
		}
		var database struct {
			Packages []struct {
				Pkg struct {
					Name     string              `json:"name"`
					Secfixes map[string][]string `json:"secfixes"`
				} `json:"pkg"`
			} `json:"packages"`
		}
		readJSON(t, file, &database)
		for _, p := range database.Packages {
			if fixes[p.Pkg.Name] == nil {
				fixes[p.Pkg.Name] = make(map[string][]string)
			}
			for version, fixed := range p.Pkg.Secfixes {
				fixes[p.Pkg.Name][version] = append(fixes[p.Pkg.Name][version], fixed...)
			}
		}
	}
	return func(p installed, _ string) []string {
		var ids []string
		for version, fixed := range fixes[p.source] {
			if version == "0" || !apkLess(t, p.version, version) {
				continue
			}
			for _, entry := range fixed {
				ids = append(ids, identifier.FindAllString(entry, -1)...)
			}
		}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
}

// apkLess asks osv-scalibr.
func apkLess(t *testing.T, a, b string) bool {
	t.Helper()
	v, err := semantic.Parse(a, "Alpine")
	if err != nil {
		t.Fatal(err)
	}
	order, err := v.CompareStr(b)
	if err != nil {
		t.Fatal(err)
	}
	return order < 0
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	file, err := openPlain(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := json.NewDecoder(file).Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
