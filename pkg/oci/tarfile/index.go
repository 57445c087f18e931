package tarfile

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/limits"
)

// index walks the file and fills the members.
func (x *File) index(ctx context.Context, f *os.File, l limits.Limits) error {
	s, compression, err := newSource(ctx, f, l)
	if err != nil {
		return err
	}
	defer s.Close()
	x.compression = compression
	tr := tar.NewReader(s)
	var kept, seen, named int64
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(seen == 0, err)
		}
		seen++
		if err := limits.Check("members of the archive", "entries", MaxMembers, seen); err != nil {
			return err
		}
		name := clean(h.Name)
		if name == "" {
			continue
		}
		var m member
		var ok bool
		switch h.Typeflag {
		case tar.TypeReg:
			m, err = x.regular(tr, h, s.position(), &kept)
			ok = !sparse(h)
		case tar.TypeLink, tar.TypeSymlink:
			m.link = target(h)
			ok = m.link != ""
		default:
			ok = false
		}
		if err != nil {
			return corrupt(err)
		}
		if !ok {
			delete(x.members, name) // what was there before is no longer
			continue
		}
		named += int64(len(name) + len(m.link))
		if err := limits.Check("names in the archive", "bytes", maxNamesTotal, named); err != nil {
			return err
		}
		x.members[name] = m
	}
}

// regular describes a regular file, the reader being at its content.
func (x *File) regular(tr *tar.Reader, h *tar.Header, at int64, kept *int64) (member, error) {
	m := member{offset: at, size: h.Size}
	head := make([]byte, min(h.Size, 8))
	if _, err := io.ReadFull(tr, head); err != nil {
		return m, err
	}
	m.inner = Sniff(head)
	if x.compression == None || !isJSON(head) || h.Size > maxKeptBytes || *kept+h.Size > maxKeptTotal {
		return m, nil
	}
	rest, err := io.ReadAll(tr)
	if err != nil {
		return m, err
	}
	m.kept = append(append(make([]byte, 0, h.Size), head...), rest...)
	m.size = int64(len(m.kept))
	*kept += m.size
	return m, nil
}

// isJSON reports whether a file that begins like this is likely to be a JSON document.
func isJSON(head []byte) bool {
	s := strings.TrimLeft(string(head), " \t\r\n")
	return s != "" && (s[0] == '{' || s[0] == '[')
}

// sparse reports whether the content of a file is not stored in one piece.
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}
