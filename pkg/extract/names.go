package extract

import (
	"bytes"
	"path"
	"strings"
)

// whiteoutPrefix begins the base name of an entry that hides something of the layers below
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // of AUFS's own files, apart from the opaque marker
)

// clean returns the path that an entry of that name has in the root file system: relative, without "." and "..".
// The root itself is ".". climbs reports that the name leads out of the root by "..", which it does nowhere:
// above the root is the root. It allocates only for names that are not clean.
func clean(name []byte) (p []byte, climbs bool) {
	for {
		if bytes.HasPrefix(name, []byte("/")) {
			name = name[1:]
		} else if bytes.HasPrefix(name, []byte("./")) {
			name = name[2:]
		} else {
			break
		}
	}
	name = bytes.TrimRight(name, "/")
	if len(name) == 0 {
		return []byte{'.'}, false
	}
	if isClean(name) {
		return name, false
	}
	s := path.Clean(string(name))
	climbs = s == ".." || strings.HasPrefix(s, "../")
	return []byte(relative(s)), climbs
}

// isClean reports whether no element of the name is empty, "." or "..".
func isClean(name []byte) bool {
	for more := true; more; {
		var element []byte
		element, name, more = bytes.Cut(name, []byte{'/'})
		switch string(element) {
		case "", ".", "..":
			return false
		}
	}
	return true
}

// relative returns the clean path, from the root, of p in the root file system.
func relative(p string) string {
	if p = path.Clean("/" + p)[1:]; p == "" {
		return "."
	}
	return p
}

// below returns what of p is below the directory, which may be "".
func below(p []byte, dir string) (rest []byte, ok bool) {
	if dir == "" {
		return p, true
	}
	if string(p) == dir {
		return []byte{'.'}, true
	}
	if len(p) > len(dir) && p[len(dir)] == '/' && string(p[:len(dir)]) == dir {
		return p[len(dir)+1:], true
	}
	return nil, false
}
