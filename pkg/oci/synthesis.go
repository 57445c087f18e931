package oci

import (
	"encoding/json"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// The documents that are made up for archives that have none; the package comment has their form.
// A golden file pins it: the fields below, their order and omissions do not change, as those of a library
// may.

type wireManifest struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     types.MediaType  `json:"mediaType"`
	Config        wireDescriptor   `json:"config"`
	Layers        []wireDescriptor `json:"layers"`
}

type wireIndex struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     types.MediaType  `json:"mediaType"`
	Manifests     []wireDescriptor `json:"manifests"`
}

type wireDescriptor struct {
	MediaType   types.MediaType   `json:"mediaType"`
	Digest      digest.Digest     `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type wireConfig struct {
	Architecture string     `json:"architecture"`
	OS           string     `json:"os"`
	Variant      string     `json:"variant,omitempty"`
	RootFS       wireRootFS `json:"rootfs"`
}

type wireRootFS struct {
	Type    string          `json:"type"`
	DiffIDs []digest.Digest `json:"diff_ids"`
}

// synthetic is an image whose manifest was made up.
type synthetic struct {
	manifest []byte
	config   []byte
	names    []string
}

func (s synthetic) digest() digest.Digest { return digest.SHA256(s.manifest) }

// synthesize makes the manifest of an image with that configuration and those layers.
func synthesize(config []byte, layers []wireDescriptor, names []string) (synthetic, error) {
	if layers == nil {
		layers = []wireDescriptor{}
	}
	manifest, err := json.Marshal(wireManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        wireDescriptor{MediaType: types.OCIConfigJSON, Digest: digest.SHA256(config), Size: int64(len(config))},
		Layers:        layers,
	})
	if err != nil {
		return synthetic{}, fault.New(fault.Unknown, "make", "manifest", err)
	}
	return synthetic{manifest: manifest, config: config, names: names}, nil
}

// synthesizeConfig makes a configuration that tells the platform and nothing else.
func synthesizeConfig(p Platform) ([]byte, error) {
	config, err := json.Marshal(wireConfig{
		Architecture: p.Architecture, OS: p.OS, Variant: p.Variant,
		RootFS: wireRootFS{Type: "layers", DiffIDs: []digest.Digest{}},
	})
	if err != nil {
		return nil, fault.New(fault.Unknown, "make", "configuration", err)
	}
	return config, nil
}

// rootOf returns the document that an archive with these images is: the only one's manifest, or an
// index of them. An image that has several names is listed once for each.
func rootOf(images []synthetic) (root, error) {
	if len(images) == 1 {
		only := images[0]
		return root{raw: only.manifest, mediaType: types.OCIManifestSchema1, digest: only.digest(), names: only.names}, nil
	}
	index := wireIndex{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []wireDescriptor{}}
	for _, image := range images {
		entry := wireDescriptor{MediaType: types.OCIManifestSchema1, Digest: image.digest(), Size: int64(len(image.manifest))}
		if len(image.names) == 0 {
			index.Manifests = append(index.Manifests, entry)
		}
		for _, name := range image.names {
			entry.Annotations = map[string]string{annotationImageName: name}
			index.Manifests = append(index.Manifests, entry)
		}
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return root{}, fault.New(fault.Unknown, "make", "index", err)
	}
	return root{raw: raw, mediaType: types.OCIImageIndex, digest: digest.SHA256(raw)}, nil
}

// canonicalNames returns names as references in canonical form, without those that are none.
func canonicalNames(names []string) []string {
	var canonical []string
	for _, name := range names {
		if ref, err := registry.ParseReference(name); err == nil {
			canonical = append(canonical, ref.String())
		}
	}
	return canonical
}
