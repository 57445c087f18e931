// Package oci provides container images to read: from a registry, or from an archive or directory
// of this machine. It resolves what a person names to images with their layers, and opens layers
// as streams of bytes.
//
// It does not look into layers, and does not verify their digests: whoever reads one does that while
// it streams. Manifests, indexes and configurations are verified against the digest they are asked by.
// How registries are reached is the matter of package registry.
//
// # Where archives have no manifest
//
// Only the manifest has the digest of an image, and archives other than OCI layouts have none. One
// is then made up, from nothing but the content, so that the same image has the same digest on
// every machine. It is an OCI image manifest in JSON without spaces:
//
//	{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
//	 "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"…","size":…},
//	 "layers":[{"mediaType":"…","digest":"…","size":…},…]}
//
// For what docker save writes, the configuration is the one in the archive, and the layers are those
// of its diff IDs, with media type application/vnd.oci.image.layer.v1.tar and size 0, for how large
// they are when inflated is not known. For an ACI and a root file system there is one layer, the file
// as it is, and the configuration is made up as well:
//
//	{"architecture":"…","os":"…","rootfs":{"type":"layers","diff_ids":[]}}
//
// An archive with several images has an OCI index of them, in the order of the archive. The form is
// stored wherever the digest is; it does not change.
package oci

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// Config says where images may be read. Its zero value works, for registries only.
type Config struct {
	// Registry says how registries are reached.
	Registry registry.Config
	// AllowLocal permits archives and directories of this machine. A server must not read its own
	// files because a client names them; without AllowLocal such targets are refused.
	AllowLocal bool
	// SkipConfig leaves the configurations of images in registries unread, which spares one request or
	// two per image. [Image.Created] is then zero, and so is the platform of an image which no index
	// describes.
	SkipConfig bool
	// Limits bound what is read of archives; see [limits.Limits.InflatedBytes].
	Limits limits.Limits
}

// Client reads images. It is safe for concurrent use.
type Client struct {
	cfg      Config
	registry *registry.Client
	archives *archives
}

// New returns a Client. It connects to nothing and opens nothing but files of certificates. Errors are
// about the configuration, and have kind [fault.Invalid].
func New(cfg Config) (*Client, error) {
	r, err := registry.New(cfg.Registry)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, registry: r, archives: newArchives()}, nil
}

// Close closes idle connections. The Client can still be used.
func (c *Client) Close() { c.registry.Close() }

// Resolve finds out what a target is: the images of the platforms wanted, and their layers.
//
// Errors: [fault.NotFound] where the target is not there or has no image of the platforms wanted;
// [fault.Unsupported] where it is there and is no image; [fault.Unauthorized]; [fault.RateLimited]
// with its delay; [fault.Corrupt] where digests do not fit or nothing in it can be read;
// [fault.Unavailable]; [fault.Invalid] for what is not allowed. Of an index that can be read in part,
// the other part is in [Resolved.Skipped].
func (c *Client) Resolve(ctx context.Context, t Target, wanted Selection) (*Resolved, error) {
	if t.IsLocal() {
		a, err := c.archive(ctx, t)
		if err != nil {
			return nil, err
		}
		return a.Resolve(ctx, wanted)
	}
	ref, err := registry.ParseReference(t.Ref)
	if err != nil {
		return nil, err
	}
	doc, d, err := c.document(ctx, ref)
	if err != nil {
		return nil, err
	}
	w := walk{content: &repository{c.registry, ref.Repository}, wanted: wanted, skipConfig: c.cfg.SkipConfig}
	images, skipped, err := w.run(ctx, doc, &node{digest: d})
	if err != nil {
		return nil, fault.Wrap("resolve", ref.String(), err)
	}
	return &Resolved{
		Reference: ref.String(), Repository: ref.Repository.String(), Digest: d, MediaType: string(doc.mediaType),
		Images: images, Skipped: skipped,
	}, nil
}

// Head asks what a target points at now. It costs one request that registries do not count as a pull,
// where they answer it; else what it points at is fetched. What a registry answers is not verified.
// The errors are those of [Client.Resolve].
func (c *Client) Head(ctx context.Context, t Target) (digest.Digest, error) {
	if t.IsLocal() {
		a, err := c.archive(ctx, t)
		if err != nil {
			return digest.Digest{}, err
		}
		return a.Digest(), nil
	}
	ref, err := registry.ParseReference(t.Ref)
	if err != nil {
		return digest.Digest{}, err
	}
	head, err := c.registry.Head(ctx, ref)
	switch {
	case err != nil:
		return digest.Digest{}, err
	case !head.Digest.IsZero():
		return head.Digest, nil
	}
	_, d, err := c.document(ctx, ref)
	return d, err
}

// document fetches and verifies what a reference names.
func (c *Client) document(ctx context.Context, ref registry.Reference) (document, digest.Digest, error) {
	got, err := c.registry.Manifest(ctx, ref)
	if err != nil {
		return document{}, digest.Digest{}, err
	}
	want := ref.Digest
	if want.IsZero() {
		want = got.Digest
	}
	doc, d, err := readDocument(got.Bytes, got.MediaType, want)
	return doc, d, fault.Wrap("read manifest", ref.String(), err)
}

// Open opens a layer at its first byte. repository is [Resolved.Repository], here or on another
// machine. The reader gives no more than the layer's Size, and heals interrupted transfers; see
// [registry.Client.Blob] for its errors. It does not verify the digest. The context applies until the
// reader is closed, which is for the caller to do.
func (c *Client) Open(ctx context.Context, repository string, l Layer) (io.ReadCloser, error) {
	t, err := parseLocation(repository)
	if err != nil {
		return nil, err
	}
	if !t.IsLocal() {
		r, err := registry.ParseRepository(t.Ref)
		if err != nil {
			return nil, err
		}
		blob, err := c.registry.Blob(ctx, r, l.Digest, l.Size)
		if l.Foreign && fault.KindOf(err) == fault.NotFound {
			err = fault.Wrap("open", "foreign layer, whose own address is not followed", err)
		}
		return blob, err
	}
	if err := c.allow(t); err != nil {
		return nil, err
	}
	if t.Scheme == ACI || t.Scheme == RootFS {
		return openWhole(t.Ref, l.Size) // no need to look into it
	}
	a, err := c.archive(ctx, t)
	if err != nil {
		return nil, err
	}
	return a.Open(ctx, l)
}

// IsLocal reports whether a [Resolved.Repository] is on this machine.
func IsLocal(repository string) bool {
	t, err := parseLocation(repository)
	return err == nil && t.IsLocal()
}

// parseLocation reads [Resolved.Repository].
func parseLocation(s string) (Target, error) {
	if scheme, _, _ := strings.Cut(s, ":"); slices.Contains(localSchemes, Scheme(scheme)) {
		return ParseTarget(s)
	}
	return Target{Registry, s}, nil
}

func (c *Client) allow(t Target) error {
	if c.cfg.AllowLocal {
		return nil
	}
	return fault.New(fault.Invalid, "open", t.String(), errors.New("files of this machine are not read for others: upload the archive"))
}

// archive opens a local target, or returns one opened before if it has not changed.
func (c *Client) archive(ctx context.Context, t Target) (*Archive, error) {
	if err := c.allow(t); err != nil {
		return nil, err
	}
	return c.archives.open(ctx, t, c.cfg.Limits)
}

// repository is the content of a repository in a registry.
type repository struct {
	client *registry.Client
	name   registry.Repository
}

func (r *repository) manifest(ctx context.Context, d digest.Digest) ([]byte, string, error) {
	doc, err := r.client.Manifest(ctx, registry.Reference{Repository: r.name, Digest: d})
	return doc.Bytes, doc.MediaType, err
}

func (r *repository) config(ctx context.Context, d digest.Digest, size int64) ([]byte, error) {
	blob, err := r.client.Blob(ctx, r.name, d, size)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return readBounded(blob, "size of a configuration", maxConfigBytes)
}

// readBounded reads all there is, and returns a [*limits.Error] where that is more than most.
func readBounded(r io.Reader, what string, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	return b, limits.Check(what, "bytes", most, int64(len(b)))
}
