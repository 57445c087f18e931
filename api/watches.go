package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// NewWatch is the body of a request to watch a reference.
type NewWatch struct {
	_         struct{} `additionalProperties:"false"`
	Reference string   `json:"reference" minLength:"1" maxLength:"4096" example:"docker.io/library/debian:12"`
	Platforms []string `json:"platforms,omitempty" maxItems:"64" example:"[\"linux/amd64\"]" doc:"Platforms to scan; all of an index by default"`
	Seconds   int      `json:"seconds,omitempty" minimum:"60" maximum:"31536000" default:"86400" doc:"From one look to the next"`
}

// Watch is a reference that is looked at again and again, and scanned when it moved.
type Watch struct {
	Reference string        `json:"reference" doc:"In canonical form"`
	Platforms []string      `json:"platforms" doc:"Empty: all"`
	Seconds   int           `json:"seconds" doc:"From one look to the next"`
	Next      time.Time     `json:"next" doc:"The next look"`
	Checked   *time.Time    `json:"checked,omitempty" doc:"When the registry last answered"`
	Digest    digest.Digest `json:"digest,omitzero" doc:"What was scanned last"`
	Error     string        `json:"error,omitempty" doc:"Of the last look"`
}

func watchView(w store.Watch) Watch {
	return Watch{
		Reference: w.Reference, Platforms: w.Platforms, Seconds: int(w.Every / time.Second), Next: w.Next.UTC(),
		Checked: timeOrNil(w.Checked.UTC()), Digest: w.Digest, Error: w.Error,
	}
}

// Change is a finding that came or went when a reference moved.
type Change struct {
	Reference string        `json:"reference"`
	Platform  string        `json:"platform"`
	At        time.Time     `json:"at" doc:"When the reference was seen to have moved"`
	Old       digest.Digest `json:"old" doc:"The image it pointed at"`
	New       digest.Digest `json:"new" doc:"The image it points at since"`
	Change    string        `json:"change" enum:"new,gone"`
	ID        string        `json:"id" doc:"Of the advisory"`
	Package   string        `json:"package"`
	Arch      string        `json:"arch"`
	Installed string        `json:"installed" doc:"Version: of the new image, for a finding that is gone of the old one"`
	Severity  string        `json:"severity"`
	Source    string        `json:"source"`
}

// registerWatches lists the operations on references under watch.
func registerWatches(h huma.API, a *API) {
	huma.Register(h, huma.Operation{
		OperationID: "watch", Method: http.MethodPut, Path: "/api/v1/watches", Tags: []string{"watches"},
		Summary:     "Watch a reference",
		Description: "It is looked at soon, and then at its interval. When it points at something else it is scanned, and what that changes in its findings is recorded.",
		Errors:      []int{http.StatusUnprocessableEntity},
	}, a.watch)
	huma.Register(h, huma.Operation{
		OperationID: "unwatch", Method: http.MethodDelete, Path: "/api/v1/watches", Tags: []string{"watches"},
		Summary: "Stop watching a reference", DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusNotFound},
	}, a.unwatch)
	huma.Register(h, huma.Operation{
		OperationID: "watches", Method: http.MethodGet, Path: "/api/v1/watches", Tags: []string{"watches"},
		Summary: "The references under watch, in their order",
	}, a.watches)
	huma.Register(h, huma.Operation{
		OperationID: "changes", Method: http.MethodGet, Path: "/api/v1/changes", Tags: []string{"watches"},
		Summary: "What moves of a reference changed in its findings, the newest first",
	}, a.changes)
}

type watchInput struct{ Body NewWatch }

type watchOutput struct{ Body Watch }

func (a *API) watch(ctx context.Context, in *watchInput) (*watchOutput, error) {
	reference, err := movable(in.Body.Reference)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	for _, platform := range in.Body.Platforms {
		if _, err := oci.ParsePlatform(platform); err != nil {
			return nil, a.problem(ctx, err)
		}
	}
	w := store.Watch{Reference: reference, Platforms: in.Body.Platforms, Every: time.Duration(in.Body.Seconds) * time.Second}
	if err := a.config.Store.PutWatch(ctx, w); err != nil {
		return nil, a.problem(ctx, err)
	}
	w.Next = time.Now()
	return &watchOutput{watchView(w)}, nil
}

// movable returns the canonical form of a reference that can point at something else tomorrow.
func movable(s string) (string, error) {
	target, err := oci.ParseTarget(s)
	if err != nil {
		return "", err
	}
	if target.IsLocal() {
		return "", fault.Newf(fault.Invalid, "watch", s, "only a reference to a registry can be watched")
	}
	if reference, err := registry.ParseReference(target.Ref); err != nil || !reference.Digest.IsZero() {
		return "", fault.Newf(fault.Invalid, "watch", s, "a digest never moves; watch a tag")
	}
	return target.String(), nil
}

type referenceInput struct {
	Reference string `query:"reference" required:"true" minLength:"1" maxLength:"4096" example:"docker.io/library/debian:12"`
}

func (a *API) unwatch(ctx context.Context, in *referenceInput) (*struct{}, error) {
	target, err := oci.ParseTarget(in.Reference)
	if err == nil {
		err = a.config.Store.RemoveWatch(ctx, target.String())
	}
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	return nil, nil //nolint:nilnil // there is nothing to say
}

type watchesInput struct {
	After string `query:"after" maxLength:"4096" doc:"Reference after which to go on"`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}

type watchesOutput struct{ Body []Watch }

func (a *API) watches(ctx context.Context, in *watchesInput) (*watchesOutput, error) {
	list, err := a.config.Store.Watches(ctx, in.After, in.Limit)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	out := &watchesOutput{Body: []Watch{}}
	for _, w := range list {
		out.Body = append(out.Body, watchView(w))
	}
	return out, nil
}

type changesInput struct {
	Reference string `query:"reference" required:"true" minLength:"1" maxLength:"4096" example:"docker.io/library/debian:12"`
	Limit     int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}

type changesOutput struct{ Body []Change }

func (a *API) changes(ctx context.Context, in *changesInput) (*changesOutput, error) {
	target, err := oci.ParseTarget(in.Reference)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	list, err := a.config.Store.TagChanges(ctx, target.String(), in.Limit)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	out := &changesOutput{Body: []Change{}}
	for _, c := range list {
		change := "new"
		if c.Gone {
			change = "gone"
		}
		out.Body = append(out.Body, Change{
			Reference: c.Reference, Platform: c.Platform, At: c.At, Old: c.Old, New: c.New, Change: change, ID: c.Advisory,
			Package: c.Package, Arch: c.Arch, Installed: c.Installed, Severity: c.Severity.String(), Source: c.Source,
		})
	}
	return out, nil
}
