package oci

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

const (
	maxManifestBytes = 4 << 20 // of a manifest or index in an archive; see [registry.Config.MaxManifestBytes]
	maxConfigBytes   = 8 << 20 // of the configuration of an image
	maxChildren      = 1000    // of one index, and of an index and all its indexes together
	maxDepth         = 3       // of indexes in indexes
	maxLayers        = 1000    // of one image; Docker makes no more than 127
)

// document is a manifest or an index. One of its parts is not nil.
type document struct {
	mediaType types.MediaType
	index     *index
	manifest  *manifest
	schema1   *schema1
}

type index struct{ children []descriptor }

type manifest struct {
	artifactType string
	config       descriptor
	layers       []descriptor
}

// descriptor is image-spec v1.1, descriptor.md. It is not go-containerregistry's, nor are the documents:
// there one digest that cannot be read spoils all of them, here only what it is needed for.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         list[string]      `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// parseDocument reads a manifest or index of any kind. contentType is how it was announced, or "".
// What a document says of itself counts more; one that says nothing is told by its fields, and one
// that could be both a manifest and an index is refused (image-spec advisory GHSA-77vh-xpmg-72qh).
//
// Errors: [fault.Corrupt], [fault.Unsupported], [fault.TooLarge].
func parseDocument(raw []byte, contentType string) (document, error) {
	var wire struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Manifests     *list[descriptor] `json:"manifests"`
		Config        *descriptor       `json:"config"`
		Layers        *list[descriptor] `json:"layers"`
		FSLayers      json.RawMessage   `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return document{}, fault.New(fault.Corrupt, "parse manifest", "", jsonError(err, contentType))
	}
	if wire.SchemaVersion == 1 || wire.SchemaVersion == 0 && wire.FSLayers != nil {
		s, err := parseSchema1(raw)
		return document{mediaType: s.mediaType(), schema1: s}, err
	}
	hasIndex, hasManifest := wire.Manifests != nil, wire.Config != nil || wire.Layers != nil
	if hasIndex && hasManifest || wire.FSLayers != nil {
		return document{}, fault.New(fault.Corrupt, "parse manifest", "", errors.New("it can be read as a manifest and as an index"))
	}
	d := document{mediaType: bareType(wire.MediaType)}
	if d.mediaType == "" {
		d.mediaType = bareType(contentType)
	}
	switch {
	case d.mediaType.IsIndex() && !hasManifest, !d.mediaType.IsImage() && hasIndex:
		if !d.mediaType.IsIndex() {
			d.mediaType = types.OCIImageIndex
		}
		return d.withIndex(wire.Manifests)
	case d.mediaType.IsImage() && !hasIndex, hasManifest && !d.mediaType.IsIndex():
		if !d.mediaType.IsImage() {
			d.mediaType = types.OCIManifestSchema1
		}
		return d.withManifest(wire.ArtifactType, wire.Config, wire.Layers), nil
	case hasIndex, hasManifest:
		return document{}, fault.New(fault.Corrupt, "parse manifest", "",
			fmt.Errorf("it is announced as %.80q and has the fields of something else", d.mediaType))
	}
	return document{}, fault.New(fault.Unsupported, "parse manifest", "",
		fmt.Errorf("neither a manifest nor an index: media type %.80q", d.mediaType))
}

func (d document) withIndex(children *list[descriptor]) (document, error) {
	d.index = &index{}
	if children != nil {
		d.index.children = *children
	}
	return d, limits.Check("manifests of an index", "entries", maxChildren, int64(len(d.index.children)))
}

func (d document) withManifest(artifactType string, config *descriptor, layers *list[descriptor]) document {
	d.manifest = &manifest{artifactType: artifactType}
	if config != nil {
		d.manifest.config = *config
	}
	if layers != nil {
		d.manifest.layers = *layers
	}
	return d
}

// jsonError says in a few words why something is not the JSON that was expected.
func jsonError(err error, contentType string) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("field %.80q: a JSON %s where there must be another type", kind.Field, kind.Value)
	case errors.As(err, &syntax) && contentType != "":
		return fmt.Errorf("not JSON (byte %d), announced as %.80q", syntax.Offset, contentType)
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON (byte %d)", syntax.Offset)
	}
	return errors.New("not JSON")
}

// why returns the reason for which a manifest is no image, or "".
func (m *manifest) why() string {
	if isArtifactType(m.artifactType) {
		return fmt.Sprintf("an artifact, %.100q, and no image", m.artifactType)
	}
	if t := bareType(m.config.MediaType); !isConfigType(t) {
		return fmt.Sprintf("an artifact, with a configuration %.100q, and no image", t)
	}
	if len(m.layers) == 0 {
		return ""
	}
	for _, l := range m.layers {
		if _, ok := layerKind(bareType(l.MediaType)); ok {
			return ""
		}
	}
	return fmt.Sprintf("an artifact, with content %.100q, and no image", bareType(m.layers[0].MediaType))
}

// imageLayers returns the layers of a manifest, which is an image. One whose digest cannot be read
// makes the image unreadable.
func (m *manifest) imageLayers() ([]Layer, error) {
	if err := limits.Check("layers of an image", "layers", maxLayers, int64(len(m.layers))); err != nil {
		return nil, err
	}
	layers := make([]Layer, 0, len(m.layers))
	for i, l := range m.layers {
		d, err := digest.Parse(l.Digest)
		if err != nil {
			return nil, fault.New(fault.Corrupt, "parse manifest", "", fmt.Errorf("layer %d: %w", i, err))
		}
		if l.Size < 0 {
			return nil, fault.New(fault.Corrupt, "parse manifest", "", fmt.Errorf("layer %d: size %d", i, l.Size))
		}
		mediaType := bareType(l.MediaType)
		foreign, _ := layerKind(mediaType)
		layer := Layer{Digest: d, MediaType: string(mediaType), Size: l.Size, Foreign: foreign || len(l.URLs) > 0}
		if withoutCompression(mediaType) == typeACILayer {
			layer.Prefix = aciPrefix
		}
		layers = append(layers, layer)
	}
	return layers, nil
}
