package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// dockerManifestFile lists the images of what docker save writes since Docker 1.10 (moby,
// image/tarexport). Since Docker 25 the archive is an OCI image layout as well.
const dockerManifestFile = "manifest.json"

// dockerImage is one entry of it.
type dockerImage struct {
	Config   string   // name of a member
	RepoTags []string // "alpine:3.20"
	Layers   []string // names of members, base first
}

const (
	maxImages         = 1000     // of one archive
	maxDocumentsBytes = 64 << 20 // of their configurations together, which are kept
)

// openDocker opens what docker save writes, in any of its layouts. Other programs write the older
// one too, with layers compressed or not, and call the members as they like.
func (a *Archive) openDocker(ctx context.Context, l limits.Limits) error {
	tar, err := tarfile.Index(ctx, a.target.Ref, l)
	if err != nil {
		return err
	}
	if tar.Has(indexFile) && tar.Has(layoutFile) {
		return a.openLayout(ctx, tar)
	}
	list, err := readDockerManifest(ctx, tar)
	if err != nil {
		return err
	}
	h := &dockerHoldings{
		tar:       tar,
		documents: map[digest.Digest][]byte{},
		layers:    map[digest.Digest]string{},
	}
	var images []synthetic
	for i, entry := range list {
		image, err := h.add(ctx, entry)
		if fault.Retryable(err) && err != nil {
			return err
		}
		if err != nil {
			err = fault.Wrap("read", fmt.Sprintf("image %d %s", i, few(entry.RepoTags)), err)
			a.skipped = append(a.skipped, Skipped{Reason: err.Error(), Missed: true})
			if len(list) == 1 {
				return err
			}
			continue
		}
		images = append(images, image)
	}
	if len(images) == 0 {
		return fault.New(fault.Corrupt, "read", a.target.Ref, fmt.Errorf("none of its %d images can be read", len(list)))
	}
	a.holdings = h
	a.root, err = rootOf(images)
	return err
}

func readDockerManifest(ctx context.Context, tar *tarfile.File) ([]dockerImage, error) {
	raw, err := (&layout{tar}).read(ctx, dockerManifestFile, "size of "+dockerManifestFile, maxManifestBytes)
	if fault.KindOf(err) == fault.NotFound {
		why := fmt.Errorf("not an archive of docker save: it has no %s", dockerManifestFile)
		if tar.Has("repositories") {
			why = errors.New("written by docker save before Docker 1.10, which told no digests: load it into Docker and save it again")
		}
		return nil, fault.New(fault.Unsupported, "read", tar.Path(), why)
	}
	if err != nil {
		return nil, err
	}
	return parseDockerManifest(raw)
}

func parseDockerManifest(raw []byte) ([]dockerImage, error) {
	var images list[dockerImage]
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, fault.New(fault.Corrupt, "read", dockerManifestFile, jsonError(err, ""))
	}
	if len(images) == 0 {
		return nil, fault.New(fault.Corrupt, "read", dockerManifestFile, errors.New("it lists no image"))
	}
	return images, limits.Check("images of an archive", "entries", maxImages, int64(len(images)))
}

// dockerHoldings are the holdings of an archive in the older layout. Layers are known by their
// diff IDs, which the configuration tells; whether that is true shows when one is read.
type dockerHoldings struct {
	tar       *tarfile.File
	documents map[digest.Digest][]byte // manifests and configurations
	size      int64                    // of the configurations together
	layers    map[digest.Digest]string // names of members by diff ID
}

// add takes in one image.
func (h *dockerHoldings) add(ctx context.Context, entry dockerImage) (synthetic, error) {
	raw, err := (&layout{h.tar}).read(ctx, memberName(entry.Config), "size of a configuration", maxConfigBytes)
	if err != nil {
		return synthetic{}, err
	}
	h.size += int64(len(raw))
	if err := limits.Check("configurations in the archive", "bytes", maxDocumentsBytes, h.size); err != nil {
		return synthetic{}, err
	}
	config, err := parseConfig(raw)
	if err != nil {
		return synthetic{}, err
	}
	if err := limits.Check("layers of an image", "layers", maxLayers, int64(len(entry.Layers))); err != nil {
		return synthetic{}, err
	}
	if len(config.diffIDs) != len(entry.Layers) {
		return synthetic{}, fault.New(fault.Corrupt, "read", entry.Config,
			fmt.Errorf("it has %d diff IDs for %d layers", len(config.diffIDs), len(entry.Layers)))
	}
	var layers []wireDescriptor
	for i, d := range config.diffIDs {
		name := memberName(entry.Layers[i])
		if !h.tar.Has(name) {
			return synthetic{}, fault.New(fault.NotFound, "read", entry.Layers[i], errors.New("the layer is not in the archive"))
		}
		if _, known := h.layers[d]; !known {
			h.layers[d] = name
		}
		layers = append(layers, wireDescriptor{MediaType: types.OCIUncompressedLayer, Digest: d})
	}
	image, err := synthesize(raw, layers, canonicalNames(entry.RepoTags))
	if err != nil {
		return synthetic{}, err
	}
	h.documents[image.digest()] = image.manifest
	h.documents[digest.SHA256(raw)] = raw
	return image, nil
}

func (h *dockerHoldings) manifest(_ context.Context, d digest.Digest) ([]byte, string, error) {
	raw, ok := h.documents[d]
	if !ok {
		return nil, "", fault.New(fault.NotFound, "read manifest", d.String(), errors.New("not in the archive"))
	}
	return raw, "", nil
}

func (h *dockerHoldings) config(ctx context.Context, d digest.Digest, _ int64) ([]byte, error) {
	raw, _, err := h.manifest(ctx, d)
	return raw, err
}

func (h *dockerHoldings) stat(d digest.Digest) (stored, bool) {
	if raw, ok := h.documents[d]; ok {
		return stored{size: int64(len(raw))}, true
	}
	size, compression, err := h.tar.Stat(h.layers[d])
	return stored{size: size, diffID: true, compression: compression}, err == nil
}

func (h *dockerHoldings) open(ctx context.Context, d digest.Digest) (io.ReadCloser, stored, error) {
	s, ok := h.stat(d)
	if !ok {
		return nil, s, fault.New(fault.NotFound, "open", d.String(), fmt.Errorf("not in %s", h.tar.Path()))
	}
	if raw, ok := h.documents[d]; ok {
		return inMemory(raw), s, nil
	}
	r, _, err := h.tar.Open(ctx, h.layers[d])
	return r, s, err
}

// memberName returns the name of a member as the index of a tar file has it.
func memberName(s string) string { return path.Clean("/" + s)[1:] }
