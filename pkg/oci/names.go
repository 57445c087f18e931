package oci

import "github.com/trawl-scanner/trawl/pkg/oci/registry"

// The annotations with which the index of an archive names its images: containerd's
// (images/annotations.go) has the whole reference, that of image-spec v1.1, annotations.md, often only
// the tag.
const (
	annotationImageName = "io.containerd.image.name"
	annotationRefName   = "org.opencontainers.image.ref.name"
)

// imageNames returns the names of an image, in canonical form. What is no full reference is left out.
func imageNames(annotations map[string]string) []string {
	if ref, err := registry.ParseReference(annotations[annotationImageName]); err == nil {
		return []string{ref.String()}
	}
	name := annotations[annotationRefName]
	if ref, err := registry.ParseReference(name); err == nil && ref.Repository.String()+":"+ref.Tag == name {
		return []string{ref.String()}
	}
	return nil
}
