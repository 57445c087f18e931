package rpmdb

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// realDatabases are package databases of real images, in the three forms, by their path in the shared data.
var realDatabases = map[string]int{
	"centos-5/var/lib/rpm/Packages":                       0,
	"opensuse-leap-15.5/usr/lib/sysimage/rpm/Packages.db": 0,
	"rocky-9.2/var/lib/rpm/rpmdb.sqlite":                  0,
}

// TestRealDatabases compares with what rpm itself lists. rpm reads all three forms, Berkeley DB if it was built to.
func TestRealDatabases(t *testing.T) {
	for path := range realDatabases {
		t.Run(path, func(t *testing.T) {
			file := sharedRoot(t, path)
			got, bad := read(t, file)
			if len(bad) > 0 {
				t.Errorf("bad records: %v", bad)
			}
			want := listWithRPM(t, file)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("rpm (-), we (+):\n%s", diff)
			}
			t.Logf("%d packages, as rpm lists them", len(got))
		})
	}
}

// listWithRPM returns what rpm lists, sorted. The database is copied: rpm may write to it.
func listWithRPM(t *testing.T, file string) []inventory.Package {
	t.Helper()
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		t.Skip("no rpm to compare with:", err)
	}
	dir := t.TempDir()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o600); err != nil {
		t.Fatal(err)
	}
	backend := map[string]string{"Packages": "bdb_ro", "Packages.db": "ndb", "rpmdb.sqlite": "sqlite"}[filepath.Base(file)]
	out, err := exec.Command(rpm, "--dbpath", dir, "--define", "_db_backend "+backend, "-qa", "--qf",
		`%{NAME}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{MODULARITYLABEL}\n`).Output()
	if err != nil {
		t.Skipf("rpm cannot read it: %v", err)
	}
	var packages []inventory.Package
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if f[0] == "gpg-pubkey" {
			continue
		}
		for i := range f {
			if f[i] == "(none)" {
				f[i] = ""
			}
		}
		p := inventory.Package{Kind: inventory.RPM, Name: f[0], Version: f[2], Arch: f[3], Module: f[5]}
		if f[1] != "" && f[1] != "0" {
			p.Version = f[1] + ":" + f[2]
		}
		p.SourceName, p.SourceVersion = p.Name, p.Version
		if f[4] != "" {
			parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(f[4], ".src.rpm"), ".nosrc.rpm"), "-")
			n := len(parts)
			p.SourceName, p.SourceVersion = strings.Join(parts[:n-2], "-"), parts[n-2]+"-"+parts[n-1]
			if p.SourceVersion == f[2] {
				p.SourceVersion = p.Version
			}
		}
		packages = append(packages, p)
	}
	slices.SortFunc(packages, inventory.Package.Compare)
	return packages
}

// sharedRoot returns a file of the real data beside the repository.
func sharedRoot(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	file := filepath.Join(filepath.Dir(dir), "shared/data/roots", filepath.FromSlash(path))
	if _, err := os.Stat(file); err != nil {
		t.Skipf("SKIPPED, no real data: %v", err)
	}
	return file
}

// read returns the packages of a database file, sorted, and its bad records. A log is read if it is there.
func read(t testing.TB, path string) (packages []inventory.Package, bad []string) {
	t.Helper()
	db := open1(t, path)
	wal := open1(t, path+"-wal")
	for p, err := range Packages(db, wal) {
		switch {
		case err == nil:
			packages = append(packages, p)
		case isBadRecord(err):
			bad = append(bad, err.Error())
		default:
			t.Fatal(err)
		}
	}
	slices.SortFunc(packages, func(a, b inventory.Package) int { return cmp.Or(a.Compare(b)) })
	return packages, bad
}
