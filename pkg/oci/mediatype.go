package oci

import (
	"strings"

	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// The media types of documents: image-spec v1.1, media-types.md, and Docker's that came before them
// (distribution, "Image Manifest Version 2, Schema 1" and "Schema 2").
const (
	typeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	typeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	typeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	typeSchema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	typeSchema1        = "application/vnd.docker.distribution.manifest.v1+json"

	typeOCIConfig    = "application/vnd.oci.image.config.v1+json"
	typeDockerConfig = "application/vnd.docker.container.image.v1+json"

	typeOCILayer = "application/vnd.oci.image.layer.v1.tar"
	// typeACILayer is the layer of an App Container image, which has its root file system in the
	// directory "rootfs" of the tar. It is ours, for no specification has one.
	typeACILayer = "application/vnd.trawl.aci.layer.v1.tar"
)

// configTypes are the media types of the configuration of an image. The last is what a registry
// wrote for Docker 1.10 (distribution issue 1622).
var configTypes = map[string]bool{
	typeOCIConfig:              true,
	typeDockerConfig:           true,
	"application/octet-stream": true,
}

// isArtifactType reports whether a type of artifact tells that something is no image. Of what has no such type, an
// index tells the media type of its configuration (image-spec v1.1, descriptor.md, artifactType).
func isArtifactType(artifactType string) bool {
	return artifactType != "" && !configTypes[bareType(artifactType)]
}

// layerTypes are the media types of layers without the suffix for compression; true for those
// that are not to be distributed by registries.
var layerTypes = map[string]bool{
	typeOCILayer: false,
	"application/vnd.oci.image.layer.nondistributable.v1.tar": true,
	"application/vnd.docker.image.rootfs.diff.tar":            false,
	"application/vnd.docker.image.rootfs.foreign.diff.tar":    true,
	"application/vnd.docker.container.image.rootfs.diff":      false, // Docker 1.10, with "+x-gtar"
	typeACILayer: false,
}

// layerKind tells whether a media type is that of a layer, and whether it is a foreign one. The
// compression is not looked at: the bytes tell it, and media types have been wrong.
func layerKind(mediaType string) (foreign, ok bool) {
	foreign, ok = layerTypes[withoutCompression(mediaType)]
	return foreign, ok
}

func withoutCompression(mediaType string) string {
	for _, suffix := range []string{"+gzip", "+zstd", "+bzip2", "+xz", ".gzip", ".zstd", "+x-gtar"} {
		mediaType = strings.TrimSuffix(mediaType, suffix)
	}
	return mediaType
}

// bareType returns a media type without parameters and in lower case.
func bareType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

// withCompression returns the media type of a layer that is compressed that way.
func withCompression(base string, c tarfile.Compression) string {
	if c == tarfile.None {
		return base
	}
	return base + "+" + string(c)
}
