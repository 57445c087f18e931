package rpmdb

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gorpmdb "github.com/anchore/go-rpmdb/pkg"
	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // go-rpmdb needs it

	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// realDatabases are package databases of real images in the three forms, by their path in the shared data. The
// backend is what rpm calls the form.
var realDatabases = []struct {
	path, backend string
	packages      int
}{
	{"centos-5/var/lib/rpm/Packages", "bdb_ro", 110},
	{"opensuse-leap-15.5/usr/lib/sysimage/rpm/Packages.db", "ndb", 132},
	{"rocky-9.2/var/lib/rpm/rpmdb.sqlite", "sqlite", 141},
}

// TestRealDatabases compares with what rpm itself lists, where it was built for the form, and with what
// github.com/anchore/go-rpmdb lists.
func TestRealDatabases(t *testing.T) {
	for _, db := range realDatabases {
		t.Run(db.backend, func(t *testing.T) {
			file := realdata.Path(t, "roots/"+db.path)
			got, bad, err := readFile(t, file)
			if len(bad) > 0 || err != nil {
				t.Errorf("bad records: %v; %v", bad, err)
			}
			if len(got) != db.packages {
				t.Errorf("%d packages, want %d", len(got), db.packages)
			}
			if diff := cmp.Diff(listWithGoRPMDB(t, file), got); diff != "" {
				t.Errorf("go-rpmdb (-), we (+):\n%s", diff)
			}
			if want := listWithRPM(t, file, db.backend); len(want) == 0 {
				t.Log("rpm cannot read it here")
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rpm (-), we (+):\n%s", diff)
			}
		})
	}
}

// listWithRPM returns what rpm lists, sorted; nothing if it cannot. It is given a copy, for it may write.
func listWithRPM(t *testing.T, file, backend string) []inventory.Package {
	t.Helper()
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		return nil
	}
	dir := t.TempDir()
	copyFile(t, file, filepath.Join(dir, filepath.Base(file)))
	out, err := exec.Command(rpm, "--dbpath", dir, "--define", "_db_backend "+backend, "-qa", "--qf",
		`%{NAME}\t%{EPOCH}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{MODULARITYLABEL}\n`).Output()
	if err != nil {
		return nil
	}
	var packages []inventory.Package
	for line := range strings.Lines(strings.ReplaceAll(string(out), "(none)", "")) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		packages = append(packages, expected(f[0], f[1], f[2], f[3], f[4], f[5], f[6]))
	}
	return sortedPackages(packages)
}

func listWithGoRPMDB(t *testing.T, file string) []inventory.Package {
	t.Helper()
	db, err := gorpmdb.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list, err := db.ListPackages()
	if err != nil {
		t.Fatal(err)
	}
	var packages []inventory.Package
	for _, p := range list {
		packages = append(packages, expected(p.Name, strconv.Itoa(p.EpochNum()), p.Version, p.Release, p.Arch, p.SourceRpm, p.Modularitylabel))
	}
	return sortedPackages(packages)
}

// expected returns the package that the fields describe.
func expected(name, epoch, version, release, arch, source, module string) inventory.Package {
	p := inventory.Package{Kind: inventory.RPM, Name: name, Version: version + "-" + release, Arch: arch, Module: module}
	if arch == "(none)" {
		p.Arch = ""
	}
	if epoch != "" && epoch != "0" {
		p.Version = epoch + ":" + p.Version
	}
	p.SourceName, p.SourceVersion = p.Name, p.Version
	if source != "" {
		parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(source, ".src.rpm"), ".nosrc.rpm"), "-")
		n := len(parts)
		p.SourceName = strings.Join(parts[:n-2], "-")
		if v := parts[n-2] + "-" + parts[n-1]; v != version+"-"+release {
			p.SourceVersion = v
		}
	}
	return p
}

func sortedPackages(packages []inventory.Package) []inventory.Package {
	packages = slices.DeleteFunc(packages, func(p inventory.Package) bool { return p.Name == "gpg-pubkey" })
	slices.SortFunc(packages, inventory.Package.Compare)
	return packages
}

// readFile returns the packages of a database file, sorted, its bad records, and the error that ended the reading.
// A log is read if there is one.
func readFile(t testing.TB, file string) ([]inventory.Package, []string, error) {
	t.Helper()
	return readAll(section(t, file), section(t, file+"-wal"))
}

func readAll(db, wal *io.SectionReader) (packages []inventory.Package, bad []string, err error) {
	for p, e := range Packages(db, wal) {
		switch {
		case e == nil:
			packages = append(packages, p)
		case isBadRecord(e):
			bad = append(bad, e.Error())
		default:
			err = e
		}
	}
	slices.SortFunc(packages, inventory.Package.Compare)
	return packages, bad, err
}

// section opens a file, or returns nil if there is none.
func section(t testing.TB, file string) *io.SectionReader {
	t.Helper()
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return io.NewSectionReader(f, 0, info.Size())
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkPackages(b *testing.B) {
	for _, db := range realDatabases {
		file := realdata.Path(b, "roots/"+db.path)
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(db.backend, func(b *testing.B) {
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				f, err := os.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				if packages, _, err := readAll(io.NewSectionReader(f, 0, info.Size()), nil); len(packages) != db.packages || err != nil {
					b.Fatal(len(packages), err)
				}
				f.Close()
			}
		})
		b.Run(db.backend+"/go-rpmdb", func(b *testing.B) {
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				rpm, err := gorpmdb.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := rpm.ListPackages(); err != nil {
					b.Fatal(err)
				}
				rpm.Close()
			}
		})
	}
}
