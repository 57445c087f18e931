package extract

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/extract/untar"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// alias says that what is at one path is to be read as if it were at another, where the table looks for it.
type alias struct {
	target string // where it is
	as     string // where the table looks for it
	dir    bool   // both are directories: those of a row with "/*"
	row    *row
}

// aliases returns, for the links of a layer, the aliases that they make of the rows of the table. What the table
// looks for at the target as well needs no alias.
func (l *links) aliases(rows []row) []alias {
	var all []alias
	for i := range rows {
		pattern, glob := strings.CutSuffix(rows[i].pattern, "/*")
		target, linked := l.resolve(pattern)
		if !linked || target == "" || target == "." {
			continue
		}
		if glob && wanted.dirs[target] == nil || !glob && wanted.files[target] == nil {
			all = append(all, alias{target, pattern, glob, &rows[i]})
		}
	}
	return all
}

// aliased takes in a regular file if a link makes it one that the table looks for.
func (f *findings) aliased(p []byte, e *untar.Entry, w *untar.Walker) error {
	if len(f.aliases) > 0 {
		if a, ok := f.aliases[string(p)]; ok {
			return f.read(a.as, a.target, a.row, e, w)
		}
	}
	if len(f.aliasDirs) > 0 {
		dir, name := path.Split(string(p))
		if a, ok := f.aliasDirs[path.Clean(dir)]; ok && (a.row.except == "" || !strings.HasSuffix(name, a.row.except)) {
			return f.read(a.as+"/"+name, string(p), a.row, e, w)
		}
	}
	return nil
}

// link takes in a symbolic or hard link.
func (f *findings) link(p []byte, target string) error {
	row, matters := wanted.find(p), wanted.touches(p)
	if matters {
		if err := f.hide(string(p)); err != nil {
			return err
		}
	}
	matters = matters || f.onTheWay[string(p)]
	f.links.add(string(p), target, matters)
	switch {
	case row != nil && strings.HasSuffix(row.pattern, "/*"):
		return f.fileLink(alias{as: string(p), row: row})
	case matters:
		f.findAliases()
	}
	return nil
}

// fileLink takes in a link at a path that a row with "/*" is for.
func (f *findings) fileLink(a alias) error {
	if len(f.fileLinks) == maxFileLinks {
		return f.problem(problemf(a.as, fault.TooLarge, "one link more than the %d that are followed", maxFileLinks))
	}
	f.fileLinks = append(f.fileLinks, a)
	f.addAlias(a)
	return f.keep(1)
}

// maxFileLinks bounds the links among the files of a row with "/*". Nobody is known to have any.
const maxFileLinks = 1000

// unlink forgets a link that something else takes the place of. It may have been one on the way to a target.
func (f *findings) unlink(p []byte) {
	if f.links.remove(p) && len(f.aliases)+len(f.aliasDirs)+len(f.fileLinks) > 0 {
		f.findAliases()
	}
}

// findAliases makes the aliases anew out of the links.
func (f *findings) findAliases() {
	f.aliases, f.aliasDirs, f.missed, f.onTheWay = map[string]alias{}, map[string]alias{}, map[string]alias{}, map[string]bool{}
	for _, a := range f.links.aliases(table) {
		f.insert(a)
	}
	for _, a := range f.fileLinks {
		f.addAlias(a)
	}
	for _, group := range f.results { // what was read because of links that are gone
		for p, res := range group {
			if res.via != "" && f.aliases[res.via].as != p && f.aliasDirs[path.Dir(res.via)].as != path.Dir(p) {
				res.close()
				delete(group, p)
			}
		}
	}
}

// addAlias adds the alias of a link at a path that a row with "/*" is for.
func (f *findings) addAlias(a alias) {
	target, linked := f.links.resolve(a.as)
	if a.target = target; linked && target != "" && wanted.find([]byte(target)) == nil {
		f.insert(a)
	}
}

// insert adds an alias. If what it leads to was passed already, or may have been, it has to be read again.
func (f *findings) insert(a alias) {
	for p := a.target; p != "." && !f.onTheWay[p]; p = path.Dir(p) {
		f.onTheWay[p] = true
	}
	if f.seen.has(a.target) {
		f.missed[a.as] = a
	}
	if a.dir {
		f.aliasDirs[a.target] = a
		return
	}
	f.aliases[a.target] = a
}

// needsSecondPass reports whether something that links lead to was passed before it was known to matter.
func (f *findings) needsSecondPass() bool {
	return slices.ContainsFunc(sortedAliases(f.missed), f.matters)
}

// matters reports whether what an alias leads to can make a difference: a release file does not if one that
// decides before it is there.
func (f *findings) matters(a alias) bool {
	if a.row.release == nil {
		return true
	}
	for i := range table {
		if table[i].pattern == a.row.pattern {
			return true
		}
		if r := f.results[table[i].pattern][table[i].pattern]; table[i].release != nil && r != nil && r.listed {
			return false
		}
	}
	return true
}

func sortedAliases(m map[string]alias) []alias {
	all := make([]alias, 0, len(m))
	for _, a := range m {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b alias) int { return cmp.Or(cmp.Compare(a.as, b.as), cmp.Compare(a.target, b.target)) })
	return all
}
