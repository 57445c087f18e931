package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// Archive is an archive or directory of images on this machine. What is not compressed is read where it
// stands; an archive that is compressed as a whole is inflated from its beginning for each layer.
// Nothing is unpacked to disk.
//
// An Archive is safe for concurrent use and holds no file open, so there is nothing to close. When the
// file changes after it was opened, its layers can no longer be opened: [fault.Conflict].
type Archive struct {
	target   Target // with an absolute path
	holdings holdings
	root     root
	skipped  []Skipped // images in it of which opening showed that they cannot be read
	partial  bool      // see walk.partial
}

// root is the document that an archive is.
type root struct {
	raw       []byte
	mediaType types.MediaType
	digest    digest.Digest
	names     []string // of the image, if it is one
}

// holdings is what an archive holds, by digest.
type holdings interface {
	content
	// stat describes a blob without opening it.
	stat(d digest.Digest) (stored, bool)
	// open opens a blob at its first byte. The errors are of the kinds of [Archive.Open].
	open(ctx context.Context, d digest.Digest) (io.ReadCloser, stored, error)
}

// stored says how a blob is stored.
type stored struct {
	size int64 // in bytes, as it is stored
	// diffID says that the blob is asked for by the digest of what it inflates to, and compression
	// how it is compressed then.
	diffID      bool
	compression tarfile.Compression
}

// OpenArchive opens a local target. A tar file is read through once for its members, and one whose
// name is its digest, a root file system or an ACI, a second time for that.
//
// Errors: [fault.NotFound], [fault.Unauthorized] for a file that may not be read, [fault.Unsupported]
// for a file of another format, [fault.Corrupt], [fault.TooLarge].
func OpenArchive(ctx context.Context, t Target, l limits.Limits) (*Archive, error) {
	path, err := filepath.Abs(t.Ref)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open", t.String(), err)
	}
	a := &Archive{target: Target{t.Scheme, path}}
	switch t.Scheme {
	case DockerArchive:
		err = a.openDocker(ctx, l)
	case OCIArchive:
		err = a.openLayoutTar(ctx, l)
	case OCIDir:
		err = a.openLayoutDir(ctx)
	case ACI:
		err = a.openACI(ctx, l)
	case RootFS:
		err = a.openRootFS(ctx)
	default:
		err = fault.New(fault.Invalid, "open", t.String(), errors.New("not an archive"))
	}
	if err != nil {
		return nil, fault.Wrap("open", string(t.Scheme), err)
	}
	return a, nil
}

// Digest returns the digest of the document that the archive is; see [Resolved.Digest].
func (a *Archive) Digest() digest.Digest { return a.root.digest }

// Resolve lists the images of the archive; see [Client.Resolve].
func (a *Archive) Resolve(ctx context.Context, wanted Selection) (*Resolved, error) {
	doc, _, err := readDocument(a.root.raw, string(a.root.mediaType), digest.Digest{})
	if err != nil {
		return nil, fault.Wrap("resolve", a.target.String(), err)
	}
	w := walk{content: a.holdings, wanted: wanted, partial: a.partial}
	images, skipped, err := w.run(ctx, doc, &node{digest: a.root.digest, names: a.root.names})
	if err != nil {
		return nil, fault.Wrap("resolve", a.target.String(), err)
	}
	r := &Resolved{
		Reference: a.target.String(), Repository: a.target.String(),
		Digest: a.root.digest, MediaType: string(doc.mediaType), Skipped: append(skipped, a.skipped...),
	}
	for _, image := range images {
		if missing := a.describe(&image); missing != "" {
			r.Skipped = append(r.Skipped, Skipped{Digest: image.Digest, Platform: image.Platform, Reason: missing, Missed: !a.partial})
			continue
		}
		r.Images = append(r.Images, image)
	}
	if len(r.Images) == 0 {
		return nil, fault.New(fault.NotFound, "resolve", a.target.String(), errors.New(r.Skipped[len(r.Skipped)-1].Reason))
	}
	return r, nil
}

// describe tells of the layers of an image how they are stored. It returns which one is missing, for
// people.
func (a *Archive) describe(image *Image) string {
	for i := range image.Layers {
		l := &image.Layers[i]
		s, ok := a.holdings.stat(l.Digest)
		if !ok {
			return fmt.Sprintf("layer %s is not in the archive", l.Digest)
		}
		l.Inflated = s.diffID
		if s.diffID {
			l.Size = s.size
			l.MediaType = string(withCompression(types.OCIUncompressedLayer, s.compression))
		}
	}
	return ""
}

// Open opens a layer at its first byte, as it is stored. The caller closes the reader.
//
// Errors: [fault.NotFound], [fault.Corrupt] for a layer whose size is not what its manifest says, and
// [fault.Conflict] for an archive that has changed since it was opened.
func (a *Archive) Open(ctx context.Context, l Layer) (io.ReadCloser, error) {
	r, s, err := a.holdings.open(ctx, l.Digest)
	if err != nil {
		return nil, err
	}
	if l.Size > 0 && s.size != l.Size {
		_ = r.Close()
		return nil, fault.New(fault.Corrupt, "open", l.Digest.String(),
			fmt.Errorf("it has %d bytes in %s, its manifest says %d", s.size, a.target, l.Size))
	}
	return r, nil
}

// openWhole opens a file that is a layer as it is, and has that many bytes unless size is 0.
func openWhole(path string, size int64) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fileError(path, err)
	}
	if size > 0 && info.Size() != size {
		_ = f.Close()
		return nil, fault.New(fault.Conflict, "open", path,
			fmt.Errorf("the file has changed since it was first read: %d bytes instead of %d", info.Size(), size))
	}
	return f, nil
}

// fileError gives an error of the file system its kind.
func fileError(path string, err error) error {
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
