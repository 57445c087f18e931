package oci

import (
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
)

// Resolved is what a target turned out to be: its images, and what of it is none.
type Resolved struct {
	// Reference is the target in canonical form: "docker.io/library/alpine:3.20", or the scheme and
	// absolute path of an archive.
	Reference string
	// Repository is where the blobs can be had, as [Client.Open] takes it: "docker.io/library/alpine",
	// or the scheme and absolute path of an archive.
	Repository string
	// Digest and MediaType are of the document that the target is: an index or a manifest. Where an
	// archive has no such document, it is the one described at [Archive].
	Digest    digest.Digest
	MediaType string
	// Images are those of the platforms wanted, in the order of the index, each once.
	Images []Image
	// Skipped are the others, in the order of the index.
	Skipped []Skipped
}

// Image is one image: a manifest.
type Image struct {
	Digest   digest.Digest // of the manifest; for schema 1, of its payload without signatures
	Platform Platform      // zero where nothing tells it
	Config   digest.Digest // of the configuration; zero for schema 1, which has none
	Created  time.Time     // UTC; zero where the configuration does not tell, or was not read
	Layers   []Layer       // base first
	Names    []string      // names that an archive gives it, "docker.io/library/alpine:3.20"
}

// Layer is one layer of an image, as [Client.Open] needs it.
type Layer struct {
	// Digest names the layer: the bytes that Open gives or, with Inflated, what they inflate to.
	Digest    digest.Digest
	MediaType string
	// Size is how many bytes Open gives, or 0 where that is not known. It is what the manifest says
	// and enforced, or what the archive has.
	Size int64
	// Inflated says that Digest is that of the tar inside (the "diff ID"), as archives made by docker
	// save name their layers, compressed or not.
	Inflated bool
	// Prefix is the directory in the tar that holds the root file system: "rootfs" for ACI, else "".
	Prefix string
	// Foreign says that the manifest wants the layer to be fetched from an address of its own. It is
	// not: it is looked for in the repository, like any other, and may be missing there.
	Foreign bool
}

// Skipped is something that a target holds besides the images wanted.
type Skipped struct {
	Digest   digest.Digest // zero where it has none
	Platform Platform      // as far as known
	Reason   string        // for people
	// Missed says that it is an image, or may be one, that is wanted and could not be read. Without
	// it there was nothing to read: an attestation, a signature, another platform.
	Missed bool
}
