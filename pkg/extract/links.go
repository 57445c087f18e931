package extract

import (
	"bytes"
	"hash/maphash"
	"path"
	"slices"
	"strings"
)

const (
	// linkBytes bounds the text of the links that are remembered of one layer, so that those that matter
	// can be followed through others. Layers have some thousand of them.
	linkBytes = 1 << 20
	// maxHops is how many links are followed on one path, as in Linux.
	maxHops = 40
)

// links are the symbolic and hard links of a layer, by path, with the paths that they lead to.
type links struct {
	targets map[string]string
	bytes   int
}

// add remembers a link. If there are too many, only one that matters is.
func (l *links) add(p, target string, matters bool) {
	size := len(p) + len(target)
	if !matters && l.bytes+size > linkBytes {
		return
	}
	if l.targets == nil {
		l.targets = make(map[string]string)
	}
	l.targets[p] = target
	l.bytes += size
}

// remove forgets the link at a path, if there is one.
func (l *links) remove(p []byte) (removed bool) {
	if len(l.targets) == 0 {
		return false
	}
	target, ok := l.targets[string(p)]
	if ok {
		delete(l.targets, string(p))
		l.bytes -= len(p) + len(target)
	}
	return ok
}

// resolve returns the path that p leads to if all links on it are followed, and whether there are any.
// Links in a circle lead nowhere.
func (l *links) resolve(p string) (resolved string, linked bool) {
	for range maxHops {
		next, found := l.follow(p)
		if !found {
			return p, linked
		}
		p, linked = next, true
	}
	return "", true
}

// follow follows the first link on a path.
func (l *links) follow(p string) (next string, found bool) {
	for end := 0; end < len(p); end++ {
		if slash := strings.IndexByte(p[end:], '/'); slash < 0 {
			end = len(p)
		} else {
			end += slash
		}
		if target, ok := l.targets[p[:end]]; ok {
			return relative(target + p[end:]), true
		}
	}
	return p, false
}

// symlinkTarget returns the path that a symbolic link leads to.
func symlinkTarget(link, target string) string {
	if strings.HasPrefix(target, "/") {
		return relative(target)
	}
	return relative(path.Dir(link) + "/" + target)
}

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

// seen is a set of paths that may take for seen what is not, but never the reverse: a Bloom filter. It tells whether
// a link may lead back to what was passed already.
type seen struct {
	seed maphash.Seed
	bits []uint64
}

const (
	seenBits   = 1 << 20 // 128 KiB; 100,000 paths and their directories leave 3 % mistakes
	seenHashes = 3
)

func newSeen() *seen { return &seen{maphash.MakeSeed(), make([]uint64, seenBits/64)} }

// add adds a path and its directory.
func (s *seen) add(p []byte) {
	s.set(maphash.Bytes(s.seed, p))
	if slash := bytes.LastIndexByte(p, '/'); slash > 0 {
		s.set(maphash.Bytes(s.seed, p[:slash]))
	}
}

func (s *seen) set(h uint64) {
	for range seenHashes {
		s.bits[h%seenBits/64] |= 1 << (h % 64)
		h >>= 20
	}
}

// has reports whether the path may have been added.
func (s *seen) has(p string) bool {
	h := maphash.String(s.seed, p)
	for range seenHashes {
		if s.bits[h%seenBits/64]&(1<<(h%64)) == 0 {
			return false
		}
		h >>= 20
	}
	return true
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
