package extract

import (
	"path"
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
