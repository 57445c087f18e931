// Package tarfile gives access by name to the members of a tar file, compressed or not, without
// unpacking it.
//
// The file is read through once and an index of its members kept. From a file that is not
// compressed, a member is then read where it stands. One that is compressed is inflated again from
// its beginning for each member, except for small JSON documents, which are kept with the index.
//
// A File holds no descriptor: each Open opens the file and makes sure that it is still the one that
// was indexed. Nothing is written. It knows nothing of images.
package tarfile

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

const (
	// MaxMembers is how many members are indexed. An archive of images has a few for each layer.
	MaxMembers = 100_000
	// maxNameBytes is the longest name of a member that is indexed, see PATH_MAX in limits.h;
	// maxNamesTotal is how long all may be together, targets of links included.
	maxNameBytes  = 4096
	maxNamesTotal = 16 << 20
	// maxKeptBytes is the size up to which a JSON document is kept, maxKeptTotal that of all.
	maxKeptBytes = 8 << 20
	maxKeptTotal = 64 << 20
	// maxLinks is how many links are followed from one to the next; see ELOOP.
	maxLinks = 8
)

// File is a tar file that has been indexed. It is safe for concurrent use.
type File struct {
	path        string
	info        fs.FileInfo
	compression Compression
	members     map[string]member
}

// member is a regular file or a link. Of several with one name the last counts, as it would if
// the archive were unpacked.
type member struct {
	offset int64 // of its content, in the inflated file
	size   int64
	link   string      // of a link: the name of another member
	inner  Compression // of the content
	kept   []byte      // the whole content, if it was worth keeping
}

// Index reads the tar file at path and returns its index. It reads no more than limits.InflatedBytes.
//
// Errors: [fault.NotFound], [fault.Unsupported] for what is no tar file, [fault.Corrupt] for one that
// is cut off or broken, [fault.TooLarge].
func Index(ctx context.Context, path string, l limits.Limits) (*File, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x := &File{path: path, info: info, members: map[string]member{}}
	if err := x.index(ctx, f, l.WithDefaults()); err != nil {
		return nil, fault.Wrap("index", path, err)
	}
	return x, nil
}

// openRegular opens a file, which must be a regular one.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path) // before it is opened: to open a pipe would block
	if err != nil {
		return nil, nil, openError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fault.New(fault.Unsupported, "open", path, errors.New("not a regular file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, nil, openError(path, err)
	}
	return f, info, nil
}

func openError(path string, err error) error {
	kind := fault.Unavailable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = fault.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = fault.Unauthorized
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fault.New(kind, "open", path, err)
}

// Path returns the path of the tar file as it was given.
func (x *File) Path() string { return x.path }

// Compression returns how the tar file as a whole is compressed.
func (x *File) Compression() Compression { return x.compression }

// Has reports whether there is a member that [File.Open] would open.
func (x *File) Has(name string) bool {
	_, err := x.find(name)
	return err == nil
}

// Stat returns the size of a member in bytes as it is stored, and how its content is compressed.
func (x *File) Stat(name string) (size int64, content Compression, err error) {
	m, err := x.find(name)
	return m.size, m.inner, err
}

// Open opens a member at its beginning, and returns its size in bytes. Symbolic and hard links
// are followed inside the archive. Where the tar file is not compressed the reader is also an
// [io.Seeker]. The caller closes it.
//
// Errors: [fault.NotFound], and [fault.Conflict] for a tar file that has changed since it was indexed.
func (x *File) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	m, err := x.find(name)
	if err != nil {
		return nil, 0, err
	}
	if m.kept != nil {
		return &section{SectionReader: io.NewSectionReader(bytes.NewReader(m.kept), 0, m.size)}, m.size, nil
	}
	f, err := x.reopen()
	if err != nil {
		return nil, 0, err
	}
	if x.compression == None {
		return &section{io.NewSectionReader(f, m.offset, m.size), f}, m.size, nil
	}
	r, err := x.inflate(ctx, f, m)
	if err != nil {
		_ = f.Close()
		return nil, 0, fault.Wrap("open", name+" in "+x.path, err)
	}
	return r, m.size, nil
}

// section is a member of a file that is not compressed.
type section struct {
	*io.SectionReader
	file io.Closer // nil for a member that is kept
}

func (s *section) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// reopen opens the tar file, which must be the one that was indexed.
func (x *File) reopen() (*os.File, error) {
	f, info, err := openRegular(x.path)
	if err != nil {
		return nil, err
	}
	if os.SameFile(info, x.info) && info.Size() == x.info.Size() && info.ModTime().Equal(x.info.ModTime()) {
		return f, nil
	}
	_ = f.Close()
	return nil, fault.Newf(fault.Conflict, "open", x.path, "the file has changed since it was first read")
}

// inflate inflates up to a member.
func (x *File) inflate(ctx context.Context, f *os.File, m member) (io.ReadCloser, error) {
	r, err := Inflate(&interruptible{ctx, f}, x.compression)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, m.offset); err != nil {
		_ = r.Close()
		return nil, corrupt(err)
	}
	return &inflated{io.LimitReader(r, m.size), r, f}, nil
}

type inflated struct {
	io.Reader
	inflater io.Closer
	file     io.Closer
}

func (i *inflated) Close() error {
	_ = i.inflater.Close()
	return i.file.Close()
}

// find returns the member of that name, links followed.
func (x *File) find(name string) (member, error) {
	at, why := name, errors.New("not in the archive")
	for range maxLinks {
		m, ok := x.members[at]
		if !ok {
			break
		}
		if m.link == "" {
			return m, nil
		}
		at = m.link
		why = fmt.Errorf("a link to %s, which is not in the archive or is another link", at)
	}
	return member{}, fault.New(fault.NotFound, "open", name+" in "+x.path, why)
}

// clean returns the name of a member in the form that the index has, or "" for one that cannot be
// asked for.
func clean(name string) string {
	if len(name) > maxNameBytes {
		return ""
	}
	return path.Clean("/" + name)[1:]
}

// target returns which member a link is to.
func target(h *tar.Header) string {
	if h.Typeflag == tar.TypeLink || path.IsAbs(h.Linkname) {
		return clean(h.Linkname)
	}
	// Relative to the link's folder. One that would leave the archive ends at its root, as in a chroot.
	return clean(path.Dir("/"+clean(h.Name)) + "/" + h.Linkname)
}

func corrupt(err error) error {
	var e *fault.Error
	var limit *limits.Error
	switch {
	case errors.As(err, &e), errors.As(err, &limit), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Newf(fault.Corrupt, "read", "", "the file ends early")
	}
	return fault.New(fault.Corrupt, "read", "", err)
}
