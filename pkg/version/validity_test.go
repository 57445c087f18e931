package version

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// printable has every character that a person can type, white space but for the blank left out.
var printable = func() string {
	var s strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		s.WriteByte(c)
	}
	return s.String()
}()

// TestDpkgValidates asks dpkg which of many strings are versions.
func TestDpkgValidates(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tool")
	}
	program := dpkgTool(t)
	seed := uint64(time.Now().UnixNano())
	p := seeded(seed)
	for range 500 {
		s := p.mutated(dpkgVersion(p), printable+":-+~.")
		if s == "" || s[0] == '-' || s[0] == '+' && strings.Contains(s, ":") {
			continue // an option to dpkg; the one form that is refused here and not by dpkg
		}
		_, err := Key(Dpkg, s)
		if valid := program.valid(t, s); valid != (err == nil) {
			t.Errorf("%q: %v; %s says valid: %t (seed %d)", s, err, program.name, valid, seed)
		}
	}
}

const spec = `Name: trawl
Version: %s
Release: %s
Summary: none
License: none
%%description
none
`

// TestRPMValidates asks rpmbuild's parser of spec files which characters a version may have.
func TestRPMValidates(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tool")
	}
	name := firstLine(t, "rpmspec", "--version")
	file := filepath.Join(t.TempDir(), "trawl.spec")
	for _, c := range printable {
		if strings.ContainsRune("%# :", c) {
			continue // these mean something to the parser, and the colon makes an epoch
		}
		version, release := fmt.Sprintf("1%c2", c), "1"
		if c > 'M' {
			version, release = release, version
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, spec, version, release), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("rpmspec", "-q", file).CombinedOutput()
		_, ours := Key(RPM, version+"-"+release)
		if (err == nil) != (ours == nil) {
			t.Errorf("%s-%s: %v; %s says: %v %.100s", version, release, ours, name, err, out)
		}
	}
}
