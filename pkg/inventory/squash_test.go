package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/distro"
)

func deb(name, version string) Package {
	return Package{Kind: Deb, Name: name, Version: version, Arch: "amd64", SourceName: name, SourceVersion: version}
}

func status(packages ...Package) []Database {
	return []Database{{Path: "var/lib/dpkg/status", Kind: Deb, Packages: packages}}
}

func release(path, id, version string) ReleaseFile {
	return ReleaseFile{path, distro.Distribution{ID: id, VersionID: version}}
}

func TestSquash(t *testing.T) {
	a1, a2, b1 := deb("a", "1"), deb("a", "2"), deb("b", "1")
	broken := Problem{Path: "var/lib/dpkg/status", Kind: "corrupt", Detail: "stanza at line 3: no Version", Count: 1}
	whole := Problem{Kind: "corrupt", Detail: "garbage after the last gzip member"}
	for _, c := range []struct {
		name   string
		layers []*Layer
		want   []string // "name version @layer path"
		distro string
		issues []string // "layer path"
	}{
		{"no layers", nil, nil, "", nil},
		{"layers that say nothing", []*Layer{{}, nil, {}}, nil, "", nil},
		{"a package stays where it came in", []*Layer{
			{Databases: status(a1)}, {}, {Databases: status(a1, b1)},
		}, []string{"a 1 @0 var/lib/dpkg/status", "b 1 @2 var/lib/dpkg/status"}, "", nil},
		{"an upgrade counts for the layer that did it", []*Layer{
			{Databases: status(a1, b1)}, {Databases: status(a2, b1)},
		}, []string{"a 2 @1 var/lib/dpkg/status", "b 1 @0 var/lib/dpkg/status"}, "", nil},
		{"removed and brought back", []*Layer{
			{Databases: status(a1, b1)}, {Databases: status(b1)}, {Databases: status(a1, b1)},
		}, []string{"a 1 @2 var/lib/dpkg/status", "b 1 @0 var/lib/dpkg/status"}, "", nil},
		{"the database removed", []*Layer{
			{Databases: status(a1)}, {Removed: []string{"var/lib/dpkg/status"}},
		}, nil, "", nil},
		{"a directory above it removed, then brought back", []*Layer{
			{Databases: status(a1)}, {Removed: []string{"var/lib"}}, {Databases: status(a1)},
		}, []string{"a 1 @2 var/lib/dpkg/status"}, "", nil},
		{"an opaque directory written anew in the same layer", []*Layer{
			{Databases: status(a1)}, {Opaque: []string{"var/lib/dpkg"}, Databases: status(a1, b1)},
		}, []string{"a 1 @0 var/lib/dpkg/status", "b 1 @1 var/lib/dpkg/status"}, "", nil},
		{"an opaque root", []*Layer{
			{Databases: status(a1), Releases: []ReleaseFile{release("etc/os-release", "debian", "12")}}, {Opaque: []string{"."}},
		}, nil, "", nil},
		{"names that only begin alike are not below", []*Layer{
			{Databases: status(a1)}, {Removed: []string{"var/lib/dpk", "var/lib/dpkg/stat"}, Opaque: []string{"va"}},
		}, []string{"a 1 @0 var/lib/dpkg/status"}, "", nil},
		{"a database of the same package at two paths", []*Layer{
			{Databases: []Database{{Path: "var/lib/dpkg/status.d/a", Kind: Deb, Packages: []Package{a1}}}}, {Databases: status(a1)},
		}, []string{"a 1 @1 var/lib/dpkg/status"}, "", nil},
		{"each file of status.d is a database", []*Layer{
			{Databases: []Database{
				{Path: "var/lib/dpkg/status.d/a", Kind: Deb, Packages: []Package{a1}},
				{Path: "var/lib/dpkg/status.d/b", Kind: Deb, Packages: []Package{b1}},
			}}, {Removed: []string{"var/lib/dpkg/status.d/a"}},
		}, []string{"b 1 @0 var/lib/dpkg/status.d/b"}, "", nil},
		{"the release file of a later layer", []*Layer{
			{Releases: []ReleaseFile{release("etc/os-release", "debian", "11"), release("usr/lib/os-release", "debian", "11")}},
			{Releases: []ReleaseFile{release("usr/lib/os-release", "debian", "12")}, Removed: []string{"etc/os-release"}},
		}, nil, "debian 12 from usr/lib/os-release", nil},
		{"a problem goes with its file", []*Layer{
			{Databases: status(a1), Problems: []Problem{broken, whole}}, {Databases: status(a1)},
		}, []string{"a 1 @0 var/lib/dpkg/status"}, "", []string{"0 "}},
		{"a problem stays with its file", []*Layer{
			nil, {Databases: status(a1), Problems: []Problem{broken}}, {Removed: []string{"etc"}},
		}, []string{"a 1 @1 var/lib/dpkg/status"}, "", []string{"1 var/lib/dpkg/status"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := Squash(c.layers)
			if diff := cmp.Diff(c.want, printed(inv)); diff != "" {
				t.Error(diff)
			}
			var told string
			if inv.Evidence != "" {
				told = inv.Distribution.String() + " from " + inv.Evidence
			}
			if told != c.distro {
				t.Errorf("distribution %q, want %q", told, c.distro)
			}
			var issues []string
			for _, p := range inv.Problems {
				issues = append(issues, fmt.Sprintf("%d %s", p.Layer, p.Path))
			}
			if diff := cmp.Diff(c.issues, issues); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func printed(inv Inventory) (lines []string) {
	for _, p := range inv.Packages {
		lines = append(lines, fmt.Sprintf("%s %s @%d %s", p.Name, p.Version, p.Layer, p.Path))
	}
	return lines
}

// TestSquashAgainstFileSystem compares Squash with a model that is slow and obvious: it keeps the whole file
// system after every layer, and looks each package up in all of them.
func TestSquashAgainstFileSystem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.SliceOfN(genLayer(), 0, 7).Draw(t, "layers")
		before := fmt.Sprintf("%+v", layers)
		want, got := modelSquash(layers), printed(Squash(layers))
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("model (-), Squash (+):\n%s", diff)
		}
		if after := fmt.Sprintf("%+v", layers); after != before {
			t.Fatal("Squash changed its input")
		}
	})
}

var (
	databasePaths = []string{"var/lib/dpkg/status", "var/lib/dpkg/status.d/a", "var/lib/dpkg/status.d/b", "usr/lib/dpkg/status"}
	hidingPaths   = append([]string{".", "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/status.d", "usr", "usr/lib/dpkg", "va"}, databasePaths...)
)

func genLayer() *rapid.Generator[*Layer] {
	return rapid.Custom(func(t *rapid.T) *Layer {
		if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
			return nil
		}
		l := &Layer{
			Removed: rapid.SliceOfNDistinct(rapid.SampledFrom(hidingPaths[1:]), 0, 2, rapid.ID).Draw(t, "removed"),
			Opaque:  rapid.SliceOfNDistinct(rapid.SampledFrom(hidingPaths), 0, 1, rapid.ID).Draw(t, "opaque"),
		}
		for _, path := range rapid.SliceOfNDistinct(rapid.SampledFrom(databasePaths), 0, 3, rapid.ID).Draw(t, "paths") {
			packages := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) Package {
				p := deb(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), rapid.SampledFrom([]string{"1", "2"}).Draw(t, "version"))
				p.Arch = rapid.SampledFrom([]string{"amd64", "i386"}).Draw(t, "arch")
				return p
			}), rapid.ID).Draw(t, "packages")
			slices.SortFunc(packages, Package.Compare)
			l.Databases = append(l.Databases, Database{path, Deb, packages})
		}
		return l
	})
}

// modelSquash returns the lines that printed gives, sorted.
func modelSquash(layers []*Layer) []string {
	var states []map[string][]Package
	state := map[string][]Package{}
	for _, l := range layers {
		state = maps.Clone(state)
		if l != nil {
			maps.DeleteFunc(state, func(path string, _ []Package) bool {
				return slices.ContainsFunc(l.Removed, func(r string) bool { return path == r || strings.HasPrefix(path, r+"/") }) ||
					slices.ContainsFunc(l.Opaque, func(o string) bool { return o == "." || strings.HasPrefix(path, o+"/") })
			})
			for _, db := range l.Databases {
				state[db.Path] = db.Packages
			}
		}
		states = append(states, state)
	}
	listed := map[Package]bool{}
	var lines []string
	for _, path := range slices.Sorted(maps.Keys(state)) {
		for _, p := range state[path] {
			if listed[p] {
				continue
			}
			listed[p] = true
			since := len(states) - 1
			for since > 0 && slices.Contains(states[since-1][path], p) {
				since--
			}
			lines = append(lines, fmt.Sprintf("%s %s @%d %s", p.Name, p.Version, since, path))
		}
	}
	slices.Sort(lines)
	return lines
}

func TestSquashSortsAndMergesPackages(t *testing.T) {
	l := &Layer{Databases: []Database{
		{Path: "z", Kind: RPM, Packages: []Package{{Kind: RPM, Name: "z", Version: "1"}}},
		{Path: "b", Kind: Deb, Packages: []Package{deb("b", "1"), deb("a", "2"), deb("a", "10")}}, // not in order
	}}
	want := []string{"a 10 @0 b", "a 2 @0 b", "b 1 @0 b", "z 1 @0 z"}
	if diff := cmp.Diff(want, printed(Squash([]*Layer{l}))); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkSquash is an application image: a base of 100 packages, five layers that each add 20.
func BenchmarkSquash(b *testing.B) {
	var packages []Package
	for i := range 200 {
		packages = append(packages, deb(fmt.Sprintf("package-%03d", i), "1.2.3-4"))
	}
	var layers []*Layer
	for n := 100; n <= len(packages); n += 20 {
		layers = append(layers, &Layer{Databases: status(packages[:n]...)}, &Layer{})
	}
	b.ReportAllocs()
	for b.Loop() {
		Squash(layers)
	}
}
