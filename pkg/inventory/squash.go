package inventory

import (
	"path"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/distro"
)

// Squash returns the inventory of the image that consists of the layers, base first. It is a pure function
// and changes none of them. A nil layer is one that could not be analyzed: it is skipped, and it is for the
// caller to say so, since it may have hidden or replaced anything.
//
// What one layer does to the layers below it:
//
//   - A path in Removed is gone, with all below it. Of a directory in Opaque all below it is gone.
//   - Then the layer's own databases and release files are put in place; one replaces what was at its path.
//   - A problem stays with the file it is about, and goes when that file is removed or replaced.
//     A problem of a layer itself stays.
//
// The databases that are left at the end, wherever they are, list what is installed: those in
// var/lib/dpkg/status.d hold a package each. A package that two of them list is taken from the first path in
// sort order. The distribution is what [distro.Choose] makes of the release files that are left.
//
// A package came to stay with the lowest layer since which the database at its path has listed its name,
// version and architecture without a break. A layer that writes the database anew, with the package in it,
// does not count; one that brings it back after another had removed it does.
func Squash(layers []*Layer) Inventory {
	s := stack{releases: make(map[string]distro.Distribution), databases: make(map[string]standing)}
	for i, l := range layers {
		if l != nil {
			s.put(i, l)
		}
	}
	return s.inventory()
}

// stack is the state of an image after some of its layers.
type stack struct {
	releases  map[string]distro.Distribution
	databases map[string]standing
	problems  []LayerProblem
}

// standing is a database that no layer has hidden so far.
type standing struct {
	packages []Package // sorted
	since    []int     // for each package, the layer that brought it to stay
}

// put lays a layer on top.
func (s *stack) put(index int, l *Layer) {
	hidden := newShadow(l)
	replaced := make(map[string]bool, len(l.Releases)+len(l.Databases))
	databases := make(map[string]standing, len(l.Databases))
	for _, db := range l.Databases {
		replaced[db.Path] = true
		databases[db.Path] = rewrite(s.databases[db.Path], db.Packages, index)
	}
	for _, r := range l.Releases {
		replaced[r.Path] = true
	}
	gone := func(path string) bool { return replaced[path] || hidden.covers(path) }

	s.problems = slices.DeleteFunc(s.problems, func(p LayerProblem) bool { return p.Path != "" && gone(p.Path) })
	for _, p := range l.Problems {
		s.problems = append(s.problems, LayerProblem{Problem: p, Layer: index})
	}
	for path := range s.releases {
		if gone(path) {
			delete(s.releases, path)
		}
	}
	for _, r := range l.Releases {
		s.releases[r.Path] = r.Distribution
	}
	for path := range s.databases {
		if gone(path) {
			delete(s.databases, path)
		}
	}
	for path, db := range databases {
		s.databases[path] = db
	}
}

// rewrite returns the database that lists the packages, written by the layer index over the old one.
// A package that the old one lists too keeps its layer.
func rewrite(old standing, packages []Package, index int) standing {
	if !slices.IsSortedFunc(packages, Package.Compare) {
		packages = slices.SortedFunc(slices.Values(packages), Package.Compare)
	}
	since := make([]int, len(packages))
	k := 0
	for i := range packages {
		since[i] = index
		c := -1
		for k < len(old.packages) {
			if c = compareIdentity(&old.packages[k], &packages[i]); c >= 0 {
				break
			}
			k++
		}
		if c == 0 {
			since[i] = old.since[k] // k stays: identities may repeat on both sides
		}
	}
	return standing{packages, since}
}

// inventory returns what the state amounts to.
func (s *stack) inventory() Inventory {
	inv := Inventory{Problems: s.problems}
	inv.Distribution, inv.Evidence = distro.Choose(s.releases)
	paths := make([]string, 0, len(s.databases))
	total := 0
	for path, db := range s.databases {
		paths = append(paths, path)
		total += len(db.packages)
	}
	slices.Sort(paths)
	inv.Packages = make([]Installed, 0, total)
	for _, path := range paths {
		db := s.databases[path]
		for i, p := range db.packages {
			inv.Packages = append(inv.Packages, Installed{Package: p, Layer: db.since[i], Path: path})
		}
	}
	if len(paths) > 1 { // one database is in order already
		slices.SortStableFunc(inv.Packages, func(a, b Installed) int { return a.Package.Compare(b.Package) })
	}
	inv.Packages = slices.CompactFunc(inv.Packages, func(a, b Installed) bool { return a.Package == b.Package })
	return inv
}

// shadow is what a layer hides of the layers below, apart from what it replaces.
type shadow struct{ removed, opaque map[string]bool }

func newShadow(l *Layer) shadow { return shadow{set(l.Removed), set(l.Opaque)} }

func set(paths []string) map[string]bool {
	if len(paths) == 0 {
		return nil
	}
	m := make(map[string]bool, len(paths))
	for _, p := range paths {
		m[p] = true
	}
	return m
}

// covers reports whether the file at the path is hidden.
func (s shadow) covers(file string) bool {
	if len(s.removed) == 0 && len(s.opaque) == 0 {
		return false
	}
	if s.removed[file] {
		return true
	}
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if s.removed[dir] || s.opaque[dir] {
			return true
		}
		if dir == "." || dir == "/" {
			return false
		}
	}
}
