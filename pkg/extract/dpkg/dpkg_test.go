package dpkg

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/extract/lines"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

func read(r io.Reader) (packages []inventory.Package, bad []string, err error) {
	for p, e := range Packages(r) {
		var record *inventory.BadRecord
		switch {
		case e == nil:
			packages = append(packages, p)
		case errors.As(e, &record):
			bad = append(bad, e.Error())
		default:
			err = e
		}
	}
	return packages, bad, err
}

func TestPackages(t *testing.T) {
	deb := func(name, version, arch, source, sourceVersion string) inventory.Package {
		return inventory.Package{Kind: inventory.Deb, Name: name, Version: version, Arch: arch, SourceName: source, SourceVersion: sourceVersion}
	}
	a := deb("a", "1", "", "a", "1")
	long := strings.Repeat("x", 2*lines.MaxBytes)
	for _, c := range []struct {
		name, text string
		want       []inventory.Package
		bad        []string
	}{
		{"nothing", "", nil, nil},
		{"blank lines", "\n\n\r\n", nil, nil},
		{
			"two packages",
			"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nSource: glibc\nVersion: 2.36-9+deb12u4\n" +
				"Conffiles:\n /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab\nDescription: GNU C Library\n Contains the standard\n .\n libraries\n\n" +
				"Package: gcc\nStatus: install ok installed\nArchitecture: amd64\nSource: gcc-defaults (1.203)\nVersion: 4:12.2.0-3\n",
			[]inventory.Package{deb("libc6", "2.36-9+deb12u4", "amd64", "glibc", "2.36-9+deb12u4"), deb("gcc", "4:12.2.0-3", "amd64", "gcc-defaults", "1.203")}, nil,
		},
		{
			"one package on two architectures",
			"Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: zlib1g\nStatus: install ok installed\nArchitecture: i386\nVersion: 1\n",
			[]inventory.Package{deb("zlib1g", "1", "amd64", "zlib1g", "1"), deb("zlib1g", "1", "i386", "zlib1g", "1")}, nil,
		},
		{"a stanza of status.d has no Status", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\nDescription: x\n", []inventory.Package{deb("base-files", "12.4", "amd64", "base-files", "12.4")}, nil},
		{"names of fields in any case, spaces, CRLF", "PACKAGE:a\r\nstatus:   hold ok  installed \r\nVersion:\t1\r\n\r\n", []inventory.Package{a}, nil},
		{"states with the files in place", "Package: a\nStatus: deinstall ok installed\nVersion: 1\n\nPackage: a\nStatus: install ok unpacked\nVersion: 1\n\n" +
			"Package: a\nStatus: install ok half-configured\nVersion: 1\n\nPackage: a\nStatus: install ok triggers-awaited\nVersion: 1\n\nPackage: a\nStatus: install ok triggers-pending\nVersion: 1\n",
			[]inventory.Package{a, a, a, a, a}, nil},
		{"states without", "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nStatus: install reinstreq half-installed\nVersion: 1\n\nPackage: c\nStatus: unknown ok not-installed\n", nil, nil},
		{"a state that is none", "Package: a\nStatus: install ok fine\nVersion: 1\n\nPackage: a\nStatus: installed\nVersion: 1\n", nil,
			[]string{`stanza at line 1 (a): status "install ok fine"`, `stanza at line 5 (a): status "installed"`}},
		{"a broken stanza among others", "Package: a\nVersion: 1\n\nPackage: b\nStatus: install ok installed\n\nVersion: 3\n\nPackage: a\nVersion: 1\n",
			[]inventory.Package{a, a}, []string{"stanza at line 4 (b): no Version", "stanza at line 7: no Package"}},
		{"a merge conflict", "Package: a\n<<<<<<< HEAD\nVersion: 2\n=======\nVersion: 1\n>>>>>>> other\n",
			[]inventory.Package{a}, []string{"stanza at line 1 (a): line 2 is no field"}},
		{"a field given twice", "Package: a\nVersion: 2\nVersion: 1\n", []inventory.Package{a}, []string{"stanza at line 1 (a): line 3 gives a field again"}},
		{"a source that is none", "Package: a\nVersion: 1\nSource: a (1\n", []inventory.Package{a}, []string{`stanza at line 1 (a): source "a (1"`}},
		{"a continuation of nothing", " x\nPackage: a\nVersion: 1\n", []inventory.Package{a}, []string{"stanza at line 1 (a): line 1 continues nothing"}},
		{"a long line that does not count", "Package: a\nDepends: " + long + "\nVersion: 1\nDescription: x\n " + long + "\n", []inventory.Package{a}, nil},
		{"a long line that does", "Package: a\nVersion: " + long + "\n", nil, []string{"stanza at line 1 (a): line 2 is longer than 16384 bytes"}},
		{"zeros, as after a crash", strings.Repeat("\x00", 1000), nil, []string{"stanza at line 1: line 1 is no field"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, bad, err := read(strings.NewReader(c.text))
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v, want (-), got (+):\n%s", err, diff)
			}
			if diff := cmp.Diff(c.bad, bad); diff != "" {
				t.Errorf("bad records: want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("connection reset")
	packages, bad, err := read(io.MultiReader(strings.NewReader("Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n"), iotest.ErrReader(broken)))
	if len(packages) != 1 || len(bad) != 0 || err != broken { // it must be the very same
		t.Errorf("got %v, %v, %v", packages, bad, err)
	}
}

// TestStop holds that nothing more is read when nobody wants it.
func TestStop(t *testing.T) {
	for range Packages(strings.NewReader("Package: a\nVersion: 1\n\nx\n\nPackage: b\nVersion: 2\n")) {
		break
	}
}

func FuzzPackages(f *testing.F) {
	f.Add("Package: libc6\nStatus: install ok installed\nSource: glibc (2.36)\nVersion: 2.36-9\nArchitecture: amd64\n\nPackage: x\nVersion: 1\n Description\n")
	f.Add("<<<<<<< HEAD\nPackage:\n:\n\n\n ")
	f.Fuzz(func(t *testing.T, text string) {
		packages, _, err := read(strings.NewReader(text))
		if err != nil {
			t.Error(err)
		}
		for _, p := range packages {
			if p.Name == "" || p.Version == "" || p.SourceName == "" || p.SourceVersion == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
