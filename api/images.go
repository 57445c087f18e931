package api

import (
	"context"
	"net/http"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/report"
)

type imagesInput struct {
	Reference string `query:"reference" required:"true" minLength:"1" maxLength:"4096" example:"docker.io/library/debian:12"`
}

// ImageList is what a reference points at.
type ImageList struct {
	Reference string  `json:"reference" doc:"In canonical form"`
	Digest    string  `json:"digest" doc:"What it pointed at when it was last scanned"`
	Images    []Image `json:"images"`
}

type imagesOutput struct{ Body ImageList }

func (a *API) images(ctx context.Context, in *imagesInput) (*imagesOutput, error) {
	target, err := oci.ParseTarget(in.Reference)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	found, pointed, err := a.config.Store.ImagesOf(ctx, target.String())
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	out := &imagesOutput{Body: ImageList{Reference: target.String(), Digest: pointed.String(), Images: []Image{}}}
	for _, image := range found {
		out.Body.Images = append(out.Body.Images, imageView(image))
	}
	return out, nil
}

type imageInput struct {
	Digest string `path:"digest" example:"sha256:4bc453b53cb3d914b45f4b250294236adba2c0e09ff6f03793949e7e39fd4cc1"`
}

type imageOutput struct{ Body Image }

func (a *API) image(ctx context.Context, in *imageInput) (*imageOutput, error) {
	d, err := parseDigest(in.Digest)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	p, err := a.config.Store.Image(ctx, d)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	return &imageOutput{imageView(p)}, nil
}

type reportInput struct {
	Digest    string `path:"digest"`
	Reference string `query:"reference" maxLength:"4096" doc:"To stand in the report as what was asked for"`
}

type reportOutput struct {
	Status     int
	RetryAfter string `header:"Retry-After"`
	Body       *report.Report
}

func (a *API) report(ctx context.Context, in *reportInput) (*reportOutput, error) {
	d, err := parseDigest(in.Digest)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	r, err := a.config.Store.Report(ctx, d)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	r.Image.Reference = in.Reference
	out := &reportOutput{Status: http.StatusOK, Body: r}
	if r.State == report.Pending {
		out.Status, out.RetryAfter = http.StatusAccepted, "1"
	}
	return out, nil
}

type layersOutput struct{ Body []report.Layer }

func (a *API) layers(ctx context.Context, in *imageInput) (*layersOutput, error) {
	d, err := parseDigest(in.Digest)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	r, err := a.config.Store.Report(ctx, d)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	return &layersOutput{r.Layers}, nil
}

func parseDigest(s string) (digest.Digest, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return d, fault.New(fault.Invalid, "read digest", "", err)
	}
	return d, nil
}
