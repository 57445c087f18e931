package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// content is where the documents of images are read: a repository of a registry, or an archive.
type content interface {
	// manifest returns the manifest or index of that digest, and how it was announced. It does not
	// verify the digest.
	manifest(ctx context.Context, d digest.Digest) (raw []byte, contentType string, err error)
	// config returns a configuration of that many bytes, 0 if not known, and at most maxConfigBytes.
	// It does not verify the digest.
	config(ctx context.Context, d digest.Digest, size int64) ([]byte, error)
}

// walk resolves a document to the images below it.
type walk struct {
	content    content
	wanted     Selection
	skipConfig bool // see [Config.SkipConfig]
	partial    bool // what is not there was left out on purpose, as archives do

	seen    map[digest.Digest]*node
	entries int64 // of all indexes
}

// concurrency is how many children of an index are fetched at once.
const concurrency = 4

// node is one document on the way. In the end it is an image, was skipped, or has children.
type node struct {
	digest   digest.Digest
	platform Platform // as its index has it
	names    []string
	index    *index
	children []*node
	image    *Image
	skipped  *Skipped
	err      error // for which it was skipped; nil if it is no image
}

func (n *node) skip(reason string) {
	n.skipped = &Skipped{Digest: n.digest, Platform: n.platform, Reason: reason}
}

// miss skips an image that should have been read.
func (n *node) miss(err error) {
	n.skip(err.Error())
	n.skipped.Missed = true
	n.err = err
}

// run resolves a document that has been verified: an image, or an index level by level. Trouble that
// may pass is an error, so that the whole is tried again; a child that stays unreadable is skipped.
func (w *walk) run(ctx context.Context, doc document, root *node) ([]Image, []Skipped, error) {
	if err := w.visit(ctx, doc, root); err != nil {
		return nil, nil, err
	}
	level := []*node{root}
	for depth := 1; ; depth++ {
		todo, err := w.expand(level, depth)
		if err != nil {
			return nil, nil, err
		}
		if len(todo) == 0 {
			break
		}
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(concurrency)
		for _, n := range todo {
			g.Go(func() error { return w.fetch(ctx, n) })
		}
		if err := g.Wait(); err != nil {
			return nil, nil, err
		}
		level = todo
	}
	var found []*node
	root.leaves(&found)
	return w.result(found)
}

// expand lists the children of the indexes in one level. It returns those that have to be fetched.
func (w *walk) expand(level []*node, depth int) (todo []*node, err error) {
	if w.seen == nil {
		w.seen = map[digest.Digest]*node{}
	}
	for _, parent := range level {
		if parent.index == nil {
			continue
		}
		if depth > maxDepth {
			parent.index = nil
			parent.miss(fault.Newf(fault.TooLarge, "resolve", parent.digest.String(), "indexes nested more than %d deep", maxDepth))
			continue
		}
		w.entries += int64(len(parent.index.children))
		if err := limits.Check("manifests of an index and the indexes in it", "entries", maxChildren, w.entries); err != nil {
			return nil, err
		}
		for i, d := range parent.index.children {
			if child, isNew := w.enter(parent, w.child(i, d)); isNew && child.skipped == nil {
				todo = append(todo, child)
			}
		}
	}
	return todo, nil
}

// enter puts a child in its place. One that is listed again, under another name or for another
// platform, is looked at once, and for a platform that is wanted if there is one.
func (w *walk) enter(parent, child *node) (entered *node, isNew bool) {
	first := w.seen[child.digest]
	if first == nil || child.digest.IsZero() {
		w.seen[child.digest] = child
		parent.children = append(parent.children, child)
		return child, true
	}
	child.names = append(child.names, first.names...)
	if first.skipped != nil && child.skipped == nil {
		*first = *child
		return first, true
	}
	first.names = child.names
	return first, false
}

// Reasons for which a child is skipped before it is fetched.
const (
	otherPlatform = "another platform than was asked for"
	attestation   = "an attestation about another image"
	windowsImage  = "a Windows image: nothing here reads what is installed in one"
)

// child returns the node of one entry of an index, skipped where the entry tells that it is no image.
func (w *walk) child(i int, d descriptor) *node {
	n := &node{names: imageNames(d.Annotations)}
	if d.Platform != nil {
		n.platform = d.Platform.normal()
	}
	var err error
	if n.digest, err = digest.Parse(d.Digest); err != nil {
		n.miss(fault.New(fault.Corrupt, "parse index", "", fmt.Errorf("entry %d: %w", i, err)))
		return n
	}
	switch mediaType := bareType(d.MediaType); {
	case d.Annotations["vnd.docker.reference.type"] == "attestation-manifest", // BuildKit, docs/attestations/attestation-storage.md
		n.platform.OS == "unknown" && n.platform.Architecture == "unknown":
		n.skip(attestation)
	case isArtifactType(d.ArtifactType):
		n.skip(fmt.Sprintf("an artifact, %.100q, and no image", d.ArtifactType))
	case mediaType != "" && !isDocumentType(mediaType):
		n.skip(fmt.Sprintf("a %.100q, and no image", mediaType))
	case n.platform.OS == "windows":
		n.skip(windowsImage)
	case !w.wanted.Wants(n.platform):
		n.skip(otherPlatform)
	}
	return n
}

// fetch fetches a child and looks at it.
func (w *walk) fetch(ctx context.Context, n *node) error {
	raw, contentType, err := w.content.manifest(ctx, n.digest)
	if err != nil {
		if w.partial && fault.KindOf(err) == fault.NotFound {
			n.skip("left out of this archive")
			return nil
		}
		return n.settle(err)
	}
	doc, _, err := readDocument(raw, contentType, n.digest)
	if err != nil {
		return n.settle(fault.Wrap("read manifest", n.digest.String(), err))
	}
	return w.visit(ctx, doc, n)
}

// settle takes an error to the node if it is for good, and returns it if it may pass.
func (n *node) settle(err error) error {
	if fault.Retryable(err) {
		return err
	}
	n.miss(err)
	return nil
}

// readDocument parses a manifest or index and verifies that it has the digest want, if that is not zero.
// It returns the digest that it has, which for schema 1 is that of the payload.
func readDocument(raw []byte, contentType string, want digest.Digest) (document, digest.Digest, error) {
	doc, err := parseDocument(raw, contentType)
	verified := raw
	if err == nil && doc.schema1 != nil {
		verified = doc.schema1.payload
	}
	v := want.Verifier()
	v.Write(verified)
	if mismatch := v.Err(); mismatch != nil {
		return document{}, digest.Digest{}, mismatch
	}
	return doc, v.Got(), err
}

// visit looks at a document that has been verified.
func (w *walk) visit(ctx context.Context, doc document, n *node) error {
	switch {
	case doc.index != nil:
		n.index = doc.index
		return nil
	case doc.schema1 != nil:
		s := doc.schema1
		image := &Image{Digest: n.digest, Created: s.created, Platform: s.platform}
		for _, d := range s.layers {
			image.Layers = append(image.Layers, Layer{Digest: d, MediaType: string(typeDocker110Layer)})
		}
		w.accept(n, image)
		return nil
	}
	if why := doc.manifest.why(); why != "" {
		n.skip(why)
		return nil
	}
	image, err := w.image(ctx, doc.manifest, n)
	if err != nil {
		return n.settle(err)
	}
	w.accept(n, image)
	return nil
}

// image reads the configuration of an image.
func (w *walk) image(ctx context.Context, m *manifest, n *node) (*Image, error) {
	layers, err := m.imageLayers()
	if err != nil {
		return nil, fault.Wrap("read manifest", n.digest.String(), err)
	}
	d, err := digest.Parse(m.config.Digest)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "read manifest", n.digest.String(), fmt.Errorf("configuration: %w", err))
	}
	image := &Image{Digest: n.digest, Config: d, Platform: n.platform, Layers: layers}
	if w.skipConfig {
		return image, nil
	}
	raw, err := w.content.config(ctx, d, m.config.Size)
	if err != nil {
		return nil, err
	}
	v := d.Verifier()
	v.Write(raw)
	if err := v.Err(); err != nil {
		return nil, fault.Wrap("read configuration", d.String(), err)
	}
	config, err := parseConfig(raw)
	if err != nil {
		return nil, fault.Wrap("read configuration", d.String(), err)
	}
	image.Created = config.created
	image.Platform = complete(n.platform, config.platform)
	return image, nil
}

// complete returns the platform that the index gives an image, and what its configuration adds to that.
func complete(index, config Platform) Platform {
	if index.OS == "" || index.Architecture == "" {
		return config
	}
	if index.OS == config.OS && index.Architecture == config.Architecture && index.Variant == "" {
		index.Variant = config.Variant
	}
	return index
}

// accept takes the image to the node if it is one that is wanted.
func (w *walk) accept(n *node, image *Image) {
	n.platform = image.Platform
	switch {
	case image.Platform.OS == "windows":
		n.skip(windowsImage)
	case !w.wanted.Wants(image.Platform):
		n.skip(otherPlatform)
	default:
		n.image = image
	}
}

// leaves lists the nodes that are images or skipped, in the order of the indexes.
func (n *node) leaves(all *[]*node) {
	if n.image != nil || n.skipped != nil {
		*all = append(*all, n)
	}
	for _, child := range n.children {
		child.names = append(child.names, n.names...)
		child.leaves(all)
	}
}

func (w *walk) result(found []*node) ([]Image, []Skipped, error) {
	var images []Image
	var skipped []Skipped
	for _, n := range found {
		if n.skipped != nil {
			skipped = append(skipped, *n.skipped)
			continue
		}
		n.image.Names = slices.Compact(slices.Sorted(slices.Values(n.names)))
		images = append(images, *n.image)
	}
	if len(images) == 0 {
		return nil, nil, w.nothing(found)
	}
	return images, skipped, nil
}

// nothing says why there is no image to scan.
func (w *walk) nothing(skipped []*node) error {
	var platforms, reasons []string
	for _, n := range skipped {
		if n.err != nil {
			return n.err // the first of them will do
		}
		if n.skipped.Reason == otherPlatform {
			platforms = append(platforms, n.platform.String())
		} else {
			reasons = append(reasons, n.skipped.Reason)
		}
	}
	switch {
	case len(platforms) > 0:
		return fault.New(fault.NotFound, "select platform", w.wanted.String(),
			fmt.Errorf("there is no such image, only %s", few(platforms)))
	case len(reasons) > 0:
		return fault.New(fault.Unsupported, "select image", "", fmt.Errorf("there is none: %s", few(slices.Compact(reasons))))
	}
	return fault.New(fault.Unsupported, "select image", "", errors.New("there is none: the index is empty"))
}

// few joins the first items of a list.
func few(items []string) string {
	const most = 12
	if len(items) > most {
		items = append(items[:most:most], "…")
	}
	return strings.Join(items, ", ")
}
