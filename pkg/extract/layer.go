package extract

import (
	"cmp"
	"path"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// layer returns what the findings amount to, in order. Files that are read in place are read now.
func (f *findings) layer() (inventory.Layer, error) {
	l := inventory.Layer{Problems: f.problems}
	listed := map[string]bool{}
	for i := range table {
		for _, res := range f.results[table[i].pattern] {
			if res.spool != nil && !res.row.log {
				if err := f.readSpooled(res); err != nil {
					return inventory.Layer{}, err
				}
			}
			l.Problems = append(l.Problems, res.problems...)
			switch {
			case !res.listed:
				f.removed[res.path] = f.removed[res.path] || !res.row.log
			case res.row.release != nil:
				listed[res.path] = true
				l.Releases = append(l.Releases, inventory.ReleaseFile{Path: res.path, Distribution: res.release})
			default:
				listed[res.path] = true
				l.Databases = append(l.Databases, inventory.Database{Path: res.path, Kind: res.row.packages.kind, Packages: res.packages})
			}
		}
	}
	l.Problems = append(l.Problems, f.dangling()...)
	l.Problems = append(l.Problems, f.strayLogs()...)
	l.Opaque, l.Removed = f.hidden(listed)
	slices.SortFunc(l.Releases, func(a, b inventory.ReleaseFile) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(l.Databases, func(a, b inventory.Database) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(l.Problems, func(a, b inventory.Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Detail, b.Detail))
	})
	return l, nil
}

// hidden returns the directories that are opaque and the paths that are removed, without those that go without
// saying: what is below others of them, and what is replaced by a file that the layer lists.
func (f *findings) hidden(listed map[string]bool) (opaque, removed []string) {
	covered := func(p string) bool {
		for dir := p; dir != "."; {
			dir = path.Dir(dir)
			if f.opaque[dir] || f.removed[dir] {
				return true
			}
		}
		return false
	}
	for _, p := range sorted(f.opaque) {
		if !f.removed[p] && !covered(p) {
			opaque = append(opaque, p)
		}
	}
	for _, p := range sorted(f.removed) {
		if f.removed[p] && !listed[p] && !covered(p) {
			removed = append(removed, p)
		}
	}
	return opaque, removed
}

// dangling returns the problems of links that lead where this layer has nothing: a layer below may, but what is
// there was not looked at.
func (f *findings) dangling() []inventory.Problem {
	var problems []inventory.Problem
	said := map[string]bool{}
	for _, all := range []map[string]alias{f.aliases, f.aliasDirs} {
		for _, a := range sortedAliases(all) {
			p, ok := f.danglingLink(a)
			if !ok || said[p] {
				continue
			}
			said[p] = true
			target, _ := f.links.resolve(p)
			problems = append(problems, problemf(p, fault.Unsupported, "a link to %.200q, which this layer does not hold", target))
		}
	}
	return problems
}

// danglingLink returns the link because of which the alias leads nowhere: at the file itself, or at the directory that
// holds it if this layer has no such directory. That a link further up leads elsewhere is usual ("lib" to "lib64")
// and says nothing about package databases.
func (f *findings) danglingLink(a alias) (link string, ok bool) {
	if len(f.results[a.row.pattern]) > 0 || a.row.log || !f.matters(a) {
		return "", false
	}
	if f.links.targets[a.as] != "" {
		return a.as, true
	}
	dir := path.Dir(a.as)
	if a.row.release == nil && f.links.targets[dir] != "" && !f.seen.has(path.Dir(a.target)) {
		return dir, true
	}
	return "", false
}

// strayLogs returns the problems of write-ahead logs whose database is not in this layer: it is in one below, and is
// there read without what the log adds.
func (f *findings) strayLogs() []inventory.Problem {
	var problems []inventory.Problem
	for i := range table {
		if !table[i].log {
			continue
		}
		for p, res := range f.results[table[i].pattern] {
			database := p[:len(p)-len(logSuffix)]
			if len(f.results[database]) == 0 && res.spool != nil && res.spool.Size() > 0 {
				problems = append(problems, problemf(p, fault.Unsupported, "the database to which this log belongs is not in the layer"))
			}
		}
	}
	return problems
}

// sorted returns the keys of a set.
func sorted(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
