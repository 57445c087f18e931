package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// wholeFile is the holdings of a file that is one layer as it is: a root file system or an ACI.
type wholeFile struct {
	path   string
	info   os.FileInfo
	layer  digest.Digest
	size   int64
	image  synthetic
	digest digest.Digest // of the image's manifest
}

// openRootFS opens a tar of a root file system.
func (a *Archive) openRootFS(ctx context.Context) error {
	return a.openFile(ctx, Platform{}, types.OCIUncompressedLayer)
}

// aciPrefix is the directory of an App Container image that holds its root file system (appc spec
// 0.8, "App Container Image", "Image Layout").
const aciPrefix = "rootfs"

// aciManifest is the part of an App Container image manifest that is of interest here (appc spec 0.8,
// "Image Manifest Schema").
type aciManifest struct {
	Kind   string `json:"acKind"`
	Name   string `json:"name"`
	Labels []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"labels"`
	Dependencies []struct {
		ImageName string `json:"imageName"`
	} `json:"dependencies"`
}

// openACI opens an App Container image. Images that it depends on are not looked for, but named.
func (a *Archive) openACI(ctx context.Context, l limits.Limits) error {
	m, err := findACIManifest(ctx, a.target.Ref, l)
	if err != nil {
		return err
	}
	if err := a.openFile(ctx, m.platform(), typeACILayer); err != nil {
		return err
	}
	for _, d := range m.Dependencies {
		reason := fmt.Sprintf("the image depends on %.200q, which is not part of the file", d.ImageName)
		a.skipped = append(a.skipped, Skipped{Reason: reason, Missed: true})
	}
	return nil
}

// platform returns the platform that the labels tell. The names of architectures are those of uname
// and of Go (appc spec 0.8, "Image Manifest Schema", "labels").
func (m aciManifest) platform() Platform {
	var p Platform
	for _, l := range m.Labels {
		switch l.Name {
		case "os":
			p.OS = l.Value
		case "arch":
			p.Architecture = l.Value
		}
	}
	return p.normal()
}

// findACIManifest looks through the file for the manifest, which may stand anywhere.
func findACIManifest(ctx context.Context, file string, l limits.Limits) (aciManifest, error) {
	var m aciManifest
	found := false
	err := tarfile.Walk(ctx, file, l, func(name string, h *tar.Header, content io.Reader) (bool, error) {
		if name != "manifest" || h.Typeflag != tar.TypeReg {
			return true, nil
		}
		found = true
		raw, err := readBounded(content, "size of a manifest", maxManifestBytes)
		if err != nil {
			return false, err
		}
		m, err = parseACIManifest(raw)
		return false, err
	})
	if err == nil && !found {
		err = fault.New(fault.Unsupported, "read", file, errors.New("not an App Container image: it has no manifest"))
	}
	return m, err
}

func parseACIManifest(raw []byte) (aciManifest, error) {
	var m aciManifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fault.New(fault.Corrupt, "read", "manifest", jsonError(err, ""))
	}
	if m.Kind != "ImageManifest" {
		return m, fault.New(fault.Unsupported, "read", "manifest", fmt.Errorf("acKind is %.40q, not ImageManifest", m.Kind))
	}
	return m, nil
}

// openFile opens a file as an image with one layer of that media type, the file.
func (a *Archive) openFile(ctx context.Context, p Platform, layerType types.MediaType) error {
	h := &wholeFile{path: a.target.Ref}
	compression, err := h.sum(ctx)
	if err != nil {
		return err
	}
	config, err := synthesizeConfig(p)
	if err != nil {
		return err
	}
	layer := wireDescriptor{MediaType: withCompression(layerType, compression), Digest: h.layer, Size: h.size}
	h.image, err = synthesize(config, []wireDescriptor{layer}, nil)
	if err != nil {
		return err
	}
	h.digest = h.image.digest()
	a.holdings = h
	a.root, err = rootOf([]synthetic{h.image})
	return err
}

// sum reads the file for its digest.
func (h *wholeFile) sum(ctx context.Context) (tarfile.Compression, error) {
	f, err := os.Open(h.path)
	if err != nil {
		return "", fileError(h.path, err)
	}
	defer f.Close()
	if h.info, err = f.Stat(); err != nil {
		return "", fileError(h.path, err)
	}
	if h.info.IsDir() {
		return "", fault.New(fault.Unsupported, "read", h.path,
			fmt.Errorf("it is a directory: make a tar file of it first (tar -C %s -cf rootfs.tar .)", h.path))
	}
	if !h.info.Mode().IsRegular() {
		return "", fault.New(fault.Unsupported, "read", h.path, errors.New("not a regular file"))
	}
	compression, err := tarfile.SniffFile(f)
	if err != nil {
		return "", err
	}
	v := digest.Digest{}.Verifier()
	h.size, err = io.Copy(v, contextReader{ctx, f})
	if err != nil {
		return "", fileError(h.path, err)
	}
	h.layer = v.Got()
	return compression, nil
}

// contextReader is a reader whose reading ends when its context does.
type contextReader struct {
	ctx context.Context //nolint:containedctx // of the call that reads
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

func (h *wholeFile) manifest(_ context.Context, d digest.Digest) ([]byte, string, error) {
	if d != h.digest {
		return nil, "", fault.New(fault.NotFound, "read manifest", d.String(), errors.New("not in the archive"))
	}
	return h.image.manifest, "", nil
}

func (h *wholeFile) config(_ context.Context, d digest.Digest, _ int64) ([]byte, error) {
	if d != digest.SHA256(h.image.config) {
		return nil, fault.New(fault.NotFound, "read configuration", d.String(), errors.New("not in the archive"))
	}
	return h.image.config, nil
}

func (h *wholeFile) stat(d digest.Digest) (stored, bool) {
	switch d {
	case h.layer:
		return stored{size: h.size}, true
	case digest.SHA256(h.image.config):
		return stored{size: int64(len(h.image.config))}, true
	}
	return stored{}, false
}

func (h *wholeFile) open(_ context.Context, d digest.Digest) (io.ReadCloser, stored, error) {
	s, ok := h.stat(d)
	if !ok {
		return nil, s, fault.New(fault.NotFound, "open", d.String(), fmt.Errorf("not in %s", h.path))
	}
	if d != h.layer {
		return inMemory(h.image.config), s, nil
	}
	f, err := os.Open(h.path)
	if err != nil {
		return nil, s, fileError(h.path, err)
	}
	info, err := f.Stat()
	if err != nil || !os.SameFile(info, h.info) || info.Size() != h.info.Size() || !info.ModTime().Equal(h.info.ModTime()) {
		_ = f.Close()
		return nil, s, fault.New(fault.Conflict, "open", h.path, errors.New("the file has changed since it was first read"))
	}
	return f, s, nil
}

// inMemory opens bytes.
func inMemory(b []byte) io.ReadCloser { return memory{bytes.NewReader(b)} }

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }
