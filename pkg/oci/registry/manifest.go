package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// accept lists the documents that can be made use of, so that a registry converts none of them.
var accept = []string{strings.Join([]string{
	string(types.OCIImageIndex),
	string(types.DockerManifestList),
	string(types.OCIManifestSchema1),
	string(types.DockerManifestSchema2),
	string(types.DockerManifestSchema1Signed),
	string(types.DockerManifestSchema1),
}, ", ")}

// Document is a manifest or index as a registry serves it.
type Document struct {
	Bytes     []byte
	MediaType string        // the Content-Type of the answer
	Digest    digest.Digest // what the registry says it is; zero where it does not. Not verified.
}

// Manifest fetches what the reference names, at most [Config.MaxManifestBytes] of it. The digest of
// what comes is for the caller to verify.
//
// Errors: [fault.NotFound], [fault.Unauthorized], [fault.RateLimited] with its delay,
// [fault.TooLarge], and [fault.Unavailable] after [Config.Retries].
func (c *Client) Manifest(ctx context.Context, ref Reference) (Document, error) {
	var doc Document
	err := c.retry(ctx, func() error {
		return c.anywhere(ctx, ref.Repository, func(at place) (err error) {
			doc, err = c.manifestAt(ctx, ref, at, http.MethodGet)
			return err
		})
	})
	return doc, fault.Wrap("get manifest", ref.String(), err)
}

// Head asks what the reference points at without fetching it; the bytes of the Document stay nil.
// Where a registry does not answer that, the digest is zero: use [Client.Manifest].
// The errors are those of [Client.Manifest].
func (c *Client) Head(ctx context.Context, ref Reference) (Document, error) {
	var doc Document
	err := c.retry(ctx, func() error {
		return c.anywhere(ctx, ref.Repository, func(at place) (err error) {
			doc, err = c.manifestAt(ctx, ref, at, http.MethodHead)
			return err
		})
	})
	return doc, fault.Wrap("head manifest", ref.String(), err)
}

func (c *Client) manifestAt(ctx context.Context, ref Reference, at place, method string) (Document, error) {
	r, err := c.ask(ctx, question{
		repository: ref.Repository, at: at, kind: KindManifest, method: method,
		path: "manifests/" + ref.Identifier(), header: http.Header{"Accept": accept},
	})
	if err != nil {
		return Document{}, err
	}
	defer r.Body.Close()
	doc := Document{MediaType: r.Header.Get("Content-Type")}
	if d, err := digest.Parse(r.Header.Get("Docker-Content-Digest")); err == nil {
		doc.Digest = d
	}
	switch {
	case method == http.MethodHead && isHeadUnanswered(r.StatusCode):
		return Document{}, nil
	case r.StatusCode != http.StatusOK:
		return Document{}, statusError(r.refusal(ref.Host))
	case method == http.MethodHead:
		return doc, nil
	}
	doc.Bytes, err = c.readManifest(r)
	return doc, err
}

// isHeadUnanswered reports whether a status says that HEAD is not understood rather than what is asked
// for.
func isHeadUnanswered(status int) bool {
	return status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented || status == http.StatusBadRequest
}

func (c *Client) readManifest(r *reply) ([]byte, error) {
	const what, unit = "size of a manifest", "bytes"
	most := c.cfg.MaxManifestBytes
	if err := limits.Check(what, unit, most, r.ContentLength); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		return nil, fault.New(fault.Unavailable, r.host, "", fmt.Errorf("body interrupted after %d bytes: %w", len(b), err))
	}
	return b, limits.Check(what, unit, most, int64(len(b)))
}
