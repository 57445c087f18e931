package oci

import (
	"context"
	"encoding/json"
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

// The files of an OCI image layout (image-spec v1.1, image-layout.md).
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
)

// blobPath returns where a layout has a blob.
func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm() + "/" + d.Hex() }

// files are the files of an OCI image layout, by slash-separated path: a tar file or a directory.
// Their methods are those of [tarfile.File].
type files interface {
	Stat(name string) (int64, tarfile.Compression, error)
	Open(ctx context.Context, name string) (io.ReadCloser, int64, error)
}

func (a *Archive) openLayoutTar(ctx context.Context, l limits.Limits) error {
	tar, err := tarfile.Index(ctx, a.target.Ref, l)
	if err != nil {
		return err
	}
	return a.openLayout(ctx, tar)
}

func (a *Archive) openLayoutDir(ctx context.Context) error {
	info, err := os.Stat(a.target.Ref)
	if err != nil {
		return fileError(a.target.Ref, err)
	}
	if !info.IsDir() {
		return fault.New(fault.Unsupported, "read", a.target.Ref, errors.New("not a directory"))
	}
	return a.openLayout(ctx, directory(a.target.Ref))
}

// openLayout reads the index of a layout. Where it has one image only, the archive is that image.
func (a *Archive) openLayout(ctx context.Context, f files) error {
	h := &layout{f}
	raw, err := h.read(ctx, indexFile, "size of an index", maxManifestBytes)
	if fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.Unsupported, "read", a.target.Ref, fmt.Errorf("not an OCI image layout: it has no %s", indexFile))
	}
	if err != nil {
		return err
	}
	if err := h.checkVersion(ctx); err != nil {
		return err
	}
	doc, d, err := readDocument(raw, string(types.OCIImageIndex), digest.Digest{})
	if err == nil && doc.index == nil {
		err = errors.New("it is no index")
	}
	if err != nil {
		return fault.New(fault.Corrupt, "read", indexFile, err)
	}
	a.holdings, a.partial = h, true
	a.root = root{raw: raw, mediaType: doc.mediaType, digest: d}
	if len(doc.index.children) != 1 {
		return nil
	}
	only := doc.index.children[0]
	if d, err = digest.Parse(only.Digest); err != nil {
		return fault.New(fault.Corrupt, "read", indexFile, err)
	}
	raw, _, err = h.manifest(ctx, d)
	if err != nil {
		return err
	}
	if doc, _, err = readDocument(raw, only.MediaType, d); err != nil {
		return fault.Wrap("read manifest", d.String(), err)
	}
	a.root = root{raw: raw, mediaType: doc.mediaType, digest: d, names: imageNames(only.Annotations)}
	return nil
}

// layout is the holdings of an OCI image layout.
type layout struct{ files }

// checkVersion looks at the file that says of which version the layout is. Layouts without one exist.
func (h *layout) checkVersion(ctx context.Context) error {
	raw, err := h.read(ctx, layoutFile, "size of "+layoutFile, 4096)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var wire struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return fault.New(fault.Corrupt, "read", layoutFile, jsonError(err, ""))
	}
	if wire.Version != "" && wire.Version[0] != '1' {
		return fault.New(fault.Unsupported, "read", layoutFile, fmt.Errorf("version %.20q of OCI image layouts", wire.Version))
	}
	return nil
}

func (h *layout) manifest(ctx context.Context, d digest.Digest) ([]byte, string, error) {
	raw, err := h.read(ctx, blobPath(d), "size of a manifest", maxManifestBytes)
	return raw, "", err
}

func (h *layout) config(ctx context.Context, d digest.Digest, _ int64) ([]byte, error) {
	return h.read(ctx, blobPath(d), "size of a configuration", maxConfigBytes)
}

func (h *layout) read(ctx context.Context, name, what string, most int64) ([]byte, error) {
	r, size, err := h.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := limits.Check(what, "bytes", most, size); err != nil {
		return nil, err
	}
	return readBounded(r, what, most)
}

func (h *layout) stat(d digest.Digest) (stored, bool) {
	size, _, err := h.Stat(blobPath(d))
	return stored{size: size}, err == nil
}

func (h *layout) open(ctx context.Context, d digest.Digest) (io.ReadCloser, stored, error) {
	r, size, err := h.Open(ctx, blobPath(d))
	return r, stored{size: size}, err
}

// directory is a directory as files. Symbolic links are followed as long as they do not lead out of it.
type directory string

func (d directory) Stat(name string) (int64, tarfile.Compression, error) {
	r, size, err := d.Open(context.Background(), name)
	if err != nil {
		return 0, "", err
	}
	return size, "", r.Close()
}

func (d directory) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	dir, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, 0, fileError(string(d), err)
	}
	defer dir.Close()
	path := filepath.FromSlash(name)
	info, err := dir.Stat(path) // before it is opened: to open a pipe would block
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, 0, fileError(filepath.Join(string(d), path), escapes(err))
	}
	f, err := dir.Open(path)
	if err != nil {
		return nil, 0, fileError(filepath.Join(string(d), path), err)
	}
	return f, info.Size(), nil
}

// escapes gives the error of os.Root for a path that leads out of it the kind of a file that is not
// there: in this directory it is not.
func escapes(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) && p.Err.Error() == "path escapes from parent" {
		return fmt.Errorf("a link out of the directory: %w", fs.ErrNotExist)
	}
	return err
}
