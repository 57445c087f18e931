package version

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// refused matches strings that are refused although the tool takes them, as the files of their schemes
// say.
var refused = map[Scheme]*regexp.Regexp{
	NuGet:     regexp.MustCompile(`[0-9] | [0-9]|\. | \.|[.-]-[0-9]+([.+]|$)`), // white space; negative numbers
	Packagist: regexp.MustCompile(`@| `),                                       // stability flags; white space
}

// TestLanguageToolsValidate asks the tools of the language ecosystems which of many strings are versions.
func TestLanguageToolsValidate(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tools")
	}
	for _, scheme := range []Scheme{Semver, NPM, Go, PyPI, RubyGems, NuGet, Packagist} {
		t.Run(string(scheme), func(t *testing.T) {
			program := tools[scheme](t)
			seed := uint64(time.Now().UnixNano())
			p := seeded(seed)
			valid := 0
			for range 2000 {
				s := p.mutated(grammars[scheme].version(p), printable+grammars[scheme].alphabet)
				if strings.TrimSpace(s) == "" || beyondTools[scheme] != nil && beyondTools[scheme].MatchString(s) && scheme != Go {
					continue
				}
				_, err := Key(scheme, s)
				if err == nil {
					valid++
				}
				if answer := program.valid(t, s); answer != (err == nil) && (refused[scheme] == nil || !refused[scheme].MatchString(s)) {
					t.Errorf("%q: %v; %s says valid: %t (seed %d)", s, err, program.name, answer, seed)
				}
			}
			if valid < 200 || valid > 1800 {
				t.Errorf("%d of 2000 strings are versions", valid)
			}
		})
	}
}

// toolDifferences are the facts in which keys do not follow the tools, as the files of their schemes say.
var toolDifferences = []struct {
	scheme Scheme
	fact   string
	tool   string // what it says instead; ? for what it does not take
	reason string
}{
	{Semver, "18446744073709551615.0.0 < 18446744073709551616.0.0", "?", "cargo's numbers have 64 bits, the specification's no bound"},
	{NPM, "1.0.0-9007199254740992 < 1.0.0-9007199254740993", "=", "node-semver rounds numbers from 2^53 on"},
	{Go, "go1.21rc1 < go1.21", ">", "a language, to go/version; no toolchain is called that"},
	{Maven, "1.0000000000.1 = 1.0.1", ">", "Maven takes ten zeros for a large number"},
	{Packagist, "1.9223372036854775807 < 1.9223372036854775808", "=", "PHP's numbers have 63 bits"},
}

func TestToolDifferences(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tools")
	}
	for _, d := range toolDifferences {
		t.Run(string(d.scheme), func(t *testing.T) {
			checkFact(t, d.scheme, d.fact)
			f := strings.Fields(d.fact)
			program := tools[d.scheme](t)
			if got := program.order(t, [][2]string{{f[0], f[2]}})[0]; got != d.tool {
				t.Errorf("%s: %s says %s, the table %s (%s)", d.fact, program.name, got, d.tool, d.reason)
			}
		})
	}
}
