package extract

import (
	"bytes"
	"context"
	"path"
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
	missed    map[string]alias // those whose target may have been passed before, by what it is to be read as
	onTheWay  map[string]bool  // the targets of aliases, and the directories that lead to them
	seen      *seen
}

func newFindings(ctx context.Context, lim limits.Limits, tempDir string, seen *seen) *findings {
	return &findings{
		ctx: ctx, lim: lim, tempDir: tempDir,
		results: map[string]map[string]*result{}, removed: map[string]bool{}, opaque: map[string]bool{},
		aliases: map[string]alias{}, aliasDirs: map[string]alias{}, missed: map[string]alias{}, onTheWay: map[string]bool{},
		seen: seen,
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
