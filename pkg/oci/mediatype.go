package oci

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// typeACILayer is the layer of an App Container image, which has its root file system in the
// directory "rootfs" of the tar. It is ours, for no specification has one.
const typeACILayer types.MediaType = "application/vnd.trawl.aci.layer.v1.tar"

// typeDocker110Layer is the layer of Docker 1.10, and the only name that those of schema 1 have.
const typeDocker110Layer types.MediaType = "application/vnd.docker.container.image.rootfs.diff+x-gtar"

// isConfigType reports whether a media type is that of the configuration of an image. The second is what
// a registry wrote for Docker 1.10 (distribution issue 1622).
func isConfigType(t types.MediaType) bool { return t.IsConfig() || t == "application/octet-stream" }

// isArtifactType reports whether a type of artifact tells that something is no image. Of what has no such type, an
// index tells the media type of its configuration (image-spec v1.1, descriptor.md, artifactType).
func isArtifactType(artifactType string) bool {
	return artifactType != "" && !isConfigType(bareType(artifactType))
}

// isDocumentType reports whether a media type is that of a manifest or an index.
func isDocumentType(t types.MediaType) bool { return t.IsIndex() || t.IsImage() || t.IsSchema1() }

// layerTypes are the media types of layers without the suffix for compression; true for those
// that are not to be distributed by registries.
var layerTypes = map[types.MediaType]bool{
	types.OCIUncompressedLayer:                             false,
	types.OCIUncompressedRestrictedLayer:                   true,
	types.DockerUncompressedLayer:                          false,
	"application/vnd.docker.image.rootfs.foreign.diff.tar": true,
	withoutCompression(typeDocker110Layer):                 false,
	typeACILayer:                                           false,
}

// layerKind tells whether a media type is that of a layer, and whether it is a foreign one. The
// compression is not looked at: the bytes tell it, and media types have been wrong.
func layerKind(t types.MediaType) (foreign, ok bool) {
	foreign, ok = layerTypes[withoutCompression(t)]
	return foreign, ok
}

func withoutCompression(t types.MediaType) types.MediaType {
	s := string(t)
	for _, suffix := range []string{"+gzip", "+zstd", "+bzip2", "+xz", ".gzip", ".zstd", "+x-gtar"} {
		s = strings.TrimSuffix(s, suffix)
	}
	return types.MediaType(s)
}

// bareType returns a media type without parameters and in lower case.
func bareType(s string) types.MediaType {
	s, _, _ = strings.Cut(s, ";")
	return types.MediaType(strings.ToLower(strings.TrimSpace(s)))
}

// withCompression returns the media type of a layer that is compressed that way.
func withCompression(base types.MediaType, c tarfile.Compression) types.MediaType {
	if c == tarfile.None {
		return base
	}
	return base + "+" + types.MediaType(c)
}
