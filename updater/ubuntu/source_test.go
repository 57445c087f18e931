package ubuntu

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/extract/dpkg"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/feedtest"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

// TestSources holds the table of sources against what Canonical says, and measures how well the source is found of
// which the notices do not tell: for the sets of binaries of which the document of focal knows the source, by the
// table and by how they are named.
func TestSources(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: reads documents of tens of megabytes")
	}
	sources, err := ReadSources(ovaltest.Open(ovaltest.Real(t, folder+"focal.cve.oval.xml.bz2")))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for binary, source := range sources {
		all[source] = true
		if said, ok := known(binary); ok && series(said) != series(source) {
			t.Errorf("%s is built from %s, the table says %s", binary, source, said)
		}
	}
	var table strings.Builder
	for _, codename := range []string{"jammy", "noble"} {
		var sets, told, own, found, wrong int
		for binaries := range realSets(t, codename) {
			names := strings.Fields(binaries)
			sets++
			right, sure := sources.of(names)
			if !sure {
				continue
			}
			told++
			if slices.Contains(names, right[0]) {
				own++
			}
			guessed, _ := Sources(nil).of(names)
			if slices.Contains(guessed, right[0]) {
				found++
			} else if slices.ContainsFunc(guessed, func(name string) bool { return all[name] }) {
				wrong++
			}
		}
		fmt.Fprintf(&table, "%s: of %d sets of binaries the source is known of %d with the document of focal; of these %d have a binary that "+
			"is named like it, of %d it is found without that document, of %d another one is\n", codename, sets, told, own, found, wrong)
	}
	feedtest.Golden(t, "testdata/sources.golden", table.String())
}

// realSets returns the sets of binaries in a real document of notices.
func realSets(t *testing.T, codename string) map[string]bool {
	t.Helper()
	sets := make(map[string]bool)
	for d, err := range oval.Read(ovaltest.Open(ovaltest.Real(t, folder+codename+".usn.oval.xml.bz2"))) {
		if err != nil {
			t.Fatal(err)
		}
		for c := range criterions(&d.Criteria) {
			if c.Test.Kind == "dpkginfo" && c.Test.State.EVR.Operation == "less than" && len(c.Test.Names) > 0 {
				sets[strings.Join(c.Test.Names, " ")] = true
			}
		}
	}
	return sets
}

// TestAgainstBinaries matches a real image by source packages, as this package means it, and by the binary packages
// that the tests of the same document are about.
func TestAgainstBinaries(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: reads documents of tens of megabytes")
	}
	image := realImage(t)
	inSource, installed := make(map[string][]string), make(map[string]string)
	for _, p := range image {
		installed[p.Name] = p.Version
		inSource[p.SourceName] = append(inSource[p.SourceName], p.SourceVersion)
	}
	bySource, byBinary := make(map[string]bool), make(map[string]bool)
	for d, err := range oval.Read(ovaltest.Open(ovaltest.Real(t, folder+"bionic.cve.oval.xml.bz2"))) {
		if err != nil {
			t.Fatal(err)
		}
		r := vulnerability(d, "ubuntu:18.04")
		open := make(map[string]bool) // what may be affected
		for _, a := range r.ranges.All() {
			open[a.Name] = a.Problem == "" && a.Status.Verdict() != advisory.VerdictNotAffected
			for _, v := range inSource[a.Name] {
				if open[a.Name] && before(v, a.Fixed) {
					bySource[r.record.ID+" "+a.Name] = true
				}
			}
		}
		for c := range criterions(&d.Criteria) {
			said, _, _ := readComment(c.Comment)
			for _, name := range c.Test.Names {
				v, ok := installed[name]
				if ok && open[said.source] && before(v, strings.TrimPrefix(c.Test.State.EVR.Text, "0:")) {
					byBinary[r.record.ID+" "+said.source] = true
				}
			}
		}
	}
	var only [2][]string
	both := 0
	for finding := range bySource {
		if byBinary[finding] {
			both++
		} else {
			only[0] = append(only[0], finding)
		}
	}
	for finding := range byBinary {
		if !bySource[finding] {
			only[1] = append(only[1], finding)
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d packages; both ways %d; by source alone %d; by binary alone %d\n", len(image), both, len(only[0]), len(only[1]))
	for i, title := range []string{"source", "binary"} {
		slices.Sort(only[i])
		for _, finding := range only[i] {
			fmt.Fprintf(&table, "    by %s alone: %s\n", title, finding)
		}
	}
	feedtest.Golden(t, "testdata/binaries.golden", table.String())
}

// before reports whether a version is before the fixed one, "" being after all.
func before(v, fixed string) bool {
	if fixed == "" {
		return true
	}
	order, err := version.Compare(version.Dpkg, v, fixed)
	return err == nil && order < 0
}

// realImage returns the packages of a real image of bionic, or skips the test.
func realImage(t *testing.T) []inventory.Package {
	t.Helper()
	feeds := realdata.Open(t, "feeds/"+folder+"bionic.cve.oval.xml.bz2").Name()
	data, _, _ := strings.Cut(feeds, string(filepath.Separator)+"feeds"+string(filepath.Separator))
	status, err := os.Open(filepath.Join(data, "roots", "ubuntu-18.04-guestbook", "var", "lib", "dpkg", "status"))
	if err != nil {
		t.Skipf("SKIPPED: no real data to read: %v", err)
	}
	defer status.Close()
	var out []inventory.Package
	for p, err := range dpkg.Packages(status) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}
