package extract

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/extract/untar"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// findings are what the entries of one layer amount to, taken in one by one, in the order of the archive.
// What an entry does is what it does to an engine that unpacks the archive: a later one replaces an earlier one of
// the same path, and what is no directory takes the place of a directory with all in it.
type findings struct {
	ctx     context.Context
	lim     limits.Limits
	tempDir string

	results  map[string]map[string]*result // by the pattern of their row, then by path
	removed  map[string]bool
	opaque   map[string]bool
	problems []inventory.Problem // of no result
	kept     int64               // things kept in memory that the layer could multiply at will
	files    int64               // read

	links     links
	fileLinks []alias          // of links at paths that a row with "/*" is for
	aliases   map[string]alias // by target
	aliasDirs map[string]alias // those of rows with "/*", by target directory
	missed    map[string]alias // targets that may have been passed before the alias was known, by what they are read as
	seen      *seen
}

func newFindings(ctx context.Context, lim limits.Limits, tempDir string) *findings {
	return &findings{
		ctx: ctx, lim: lim, tempDir: tempDir,
		results: map[string]map[string]*result{}, removed: map[string]bool{}, opaque: map[string]bool{}, missed: map[string]alias{},
		seen: newSeen(),
	}
}

// close throws away what is left of temporary files.
func (f *findings) close() {
	for _, group := range f.results {
		for _, r := range group {
			r.spool.Close() //nolint:errcheck // it was read only
		}
	}
}

// A visitor takes in one entry of an archive.
type visitor func(e *untar.Entry, w *untar.Walker) error

// first returns the visitor of the first pass: everything counts.
func (f *findings) first(prefix string) visitor {
	return func(e *untar.Entry, w *untar.Walker) error {
		p, climbs := clean(e.Name)
		p, ok := below(p, prefix)
		if !ok {
			return nil
		}
		if climbs {
			return f.climb(e.Name, p)
		}
		if base := p[bytes.LastIndexByte(p, '/')+1:]; bytes.HasPrefix(base, []byte(whiteoutPrefix)) {
			return f.whiteout(string(p), string(base))
		}
		f.seen.add(p)
		switch e.Type {
		case untar.File:
			return f.file(p, e, w)
		case untar.Dir:
			return f.dir(p)
		case untar.Symlink:
			return f.link(p, symlinkTarget(string(p), string(e.Target)))
		case untar.Link:
			target, _ := clean(e.Target)
			if target, ok = below(target, prefix); !ok {
				return f.block(p)
			}
			return f.link(p, string(target))
		}
		return f.block(p)
	}
}

// second returns the visitor of the second pass: only what links lead to is read.
func (f *findings) second(prefix string) visitor {
	return func(e *untar.Entry, w *untar.Walker) error {
		p, climbs := clean(e.Name)
		if p, ok := below(p, prefix); ok && !climbs && e.Type == untar.File {
			return f.aliased(p, e, w)
		}
		return nil
	}
}

// climb takes in an entry whose name leads out of the archive. Engines refuse it or keep it inside; it is never
// taken for what the table looks for.
func (f *findings) climb(name, p []byte) error {
	if wanted.find(p) == nil {
		return nil
	}
	return f.problem(problemf(string(p), fault.Corrupt, "an entry named %.200q leads out of the archive, and was ignored", name))
}

// whiteout takes in an entry that hides what is in the layers below.
func (f *findings) whiteout(p, base string) error {
	dir := path.Dir(p)
	switch {
	case base == opaqueMarker:
		if dir == "." || wanted.parents[dir] || wanted.dirs[dir] != nil {
			return f.mark(f.opaque, dir)
		}
		return nil
	case strings.HasPrefix(base, aufsPrefix):
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return nil // it would be the directory itself, or the one above
	}
	if hidden := path.Join(dir, name); wanted.touches([]byte(hidden)) {
		return f.mark(f.removed, hidden)
	}
	return nil
}

// file takes in a regular file.
func (f *findings) file(p []byte, e *untar.Entry, w *untar.Walker) error {
	f.unlink(p)
	if r := wanted.find(p); r != nil {
		return f.read(string(p), "", r, e, w)
	}
	if wanted.parents[string(p)] {
		return f.hide(string(p))
	}
	return f.aliased(p, e, w)
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

// dir takes in a directory: it goes together with a directory below, but not with a file.
func (f *findings) dir(p []byte) error {
	f.unlink(p)
	if wanted.find(p) != nil {
		return f.hide(string(p))
	}
	return nil
}

// block takes in what is neither a file nor a directory.
func (f *findings) block(p []byte) error {
	f.unlink(p)
	if wanted.touches(p) {
		return f.hide(string(p))
	}
	return nil
}

// link takes in a symbolic or hard link.
func (f *findings) link(p []byte, target string) error {
	matters := wanted.touches(p)
	if matters {
		if err := f.hide(string(p)); err != nil {
			return err
		}
	}
	row := wanted.find(p)
	if row != nil && strings.HasSuffix(row.pattern, "/*") {
		f.links.add(string(p), target, true)
		f.fileLinks = append(f.fileLinks, alias{as: string(p), row: row})
		if err := f.keep(1); err != nil {
			return err
		}
		f.addAlias(f.fileLinks[len(f.fileLinks)-1])
		return nil
	}
	matters = matters || f.leadsToAlias(p)
	f.links.add(string(p), target, matters)
	if matters {
		f.findAliases()
	}
	return nil
}

// unlink forgets a link that something else takes the place of. It may have been one on the way to a target.
func (f *findings) unlink(p []byte) {
	if f.links.remove(p) && len(f.aliases)+len(f.aliasDirs)+len(f.fileLinks) > 0 {
		f.findAliases()
	}
}

// leadsToAlias reports whether the target of an alias is at or below the path.
func (f *findings) leadsToAlias(p []byte) bool {
	for _, a := range f.aliases {
		if _, ok := below([]byte(a.target), string(p)); ok {
			return true
		}
	}
	for _, a := range f.aliasDirs {
		if _, ok := below([]byte(a.target), string(p)); ok {
			return true
		}
	}
	return false
}

// findAliases makes the aliases anew out of the links.
func (f *findings) findAliases() {
	f.aliases, f.aliasDirs, f.missed = map[string]alias{}, map[string]alias{}, map[string]alias{}
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
		if f.aliases == nil {
			f.aliases = map[string]alias{}
		}
		f.insert(a)
	}
}

// insert adds an alias. If what it leads to was passed already, or may have been, it has to be read again.
func (f *findings) insert(a alias) {
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

// hide takes in that something is at the path that is not what the table looks for there.
func (f *findings) hide(p string) error {
	f.drop(p)
	return f.mark(f.removed, p)
}

// drop throws away the results at and below a path.
func (f *findings) drop(p string) {
	if r := wanted.find([]byte(p)); r != nil {
		f.results[r.pattern][p].close()
		delete(f.results[r.pattern], p)
		return
	}
	for i := range table {
		if strings.HasPrefix(table[i].pattern, p+"/") {
			for _, r := range f.results[table[i].pattern] {
				r.close()
			}
			delete(f.results, table[i].pattern)
		}
	}
}

func (f *findings) mark(set map[string]bool, p string) error {
	if set[p] {
		return nil
	}
	set[p] = true
	return f.keep(1)
}

func (f *findings) problem(p inventory.Problem) error {
	f.problems = append(f.problems, p)
	return f.keep(1)
}

// keep counts what is kept in memory. Packages are what a layer is allowed to have many of, so it is their limit.
func (f *findings) keep(n int64) error {
	f.kept += n
	return limits.Check("packages of the layer", "packages", f.lim.Packages, f.kept)
}
