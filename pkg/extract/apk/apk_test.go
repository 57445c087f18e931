package apk

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

const musl = `C:Q1EtnwHDxPNgXyV0EjCsuH835zFPo=
P:musl-utils
V:1.2.5-r0
A:x86_64
S:37000
o:musl
D:scanelf so:libc.musl-x86_64.so.1
F:usr/bin
R:iconv
a:0:0:755
Z:Q1cb2vblJ1n38nfIm2lMSU9HLKLfs=
`

func TestPackages(t *testing.T) {
	utils := inventory.Package{Kind: inventory.APK, Name: "musl-utils", Version: "1.2.5-r0", Arch: "x86_64", SourceName: "musl", SourceVersion: "1.2.5-r0"}
	old := inventory.Package{Kind: inventory.APK, Name: "old", Version: "1-r0", SourceName: "old", SourceVersion: "1-r0"}
	long := strings.Repeat("x", 2*lines.MaxBytes)
	for _, c := range []struct {
		name, text string
		want       []inventory.Package
		bad        []string
	}{
		{"nothing", "", nil, nil},
		{"blank lines", "\n\n\n", nil, nil},
		{"one", musl, []inventory.Package{utils}, nil},
		{"two, one without origin", musl + "\nP:old\nV:1-r0\n\n", []inventory.Package{utils, old}, nil},
		{"a broken stanza among others", "V:1\n\nP:x\n\n" + musl, []inventory.Package{utils}, []string{"stanza at line 1: no name (P)", "stanza at line 3 (x): no version (V)"}},
		{"a line that is no field", "P:old\nV:1-r0\nhello\n", []inventory.Package{old}, []string{"stanza at line 1 (old): line 3 is no field"}},
		{"a long line that does not count", "P:old\nD:" + long + "\nV:1-r0\n", []inventory.Package{old}, nil},
		{"a long line that does", "P:old\nV:" + long + "\n", nil, []string{"stanza at line 1 (old): line 2 is longer than 16384 bytes"}},
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
	packages, bad, err := read(io.MultiReader(strings.NewReader(musl+"\nP:x\n"), iotest.ErrReader(broken)))
	if len(packages) != 1 || len(bad) != 0 || err != broken { // it must be the very same
		t.Errorf("got %v, %v, %v", packages, bad, err)
	}
}

func FuzzPackages(f *testing.F) {
	f.Add(musl + "\nP:x\nV:1\n")
	f.Add("P:\nV\n:\n\n")
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
