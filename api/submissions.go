package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"
	"github.com/google/uuid"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// NewSubmission is the body of a request to have a reference scanned.
type NewSubmission struct {
	_         struct{} `additionalProperties:"false"`
	Target    string   `json:"target" minLength:"1" maxLength:"4096" example:"docker.io/library/debian:12" doc:"Reference of an image or index"`
	Platforms []string `json:"platforms,omitempty" maxItems:"64" example:"[\"linux/amd64\"]" doc:"Platforms to scan; all of an index by default"`
	Lane      string   `json:"lane,omitempty" enum:"now,bulk" default:"now" doc:"now: somebody waits. bulk: it may wait for all that do not"`
}

type submitInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Requests with the same key are one submission"`
	Body           NewSubmission
}

type submissionOutput struct {
	Location string `header:"Location"`
	Body     *Submission
}

func (a *API) submit(ctx context.Context, in *submitInput) (*submissionOutput, error) {
	target, err := oci.ParseTarget(in.Body.Target)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	if target.IsLocal() && !a.config.AllowLocal {
		return nil, a.problem(ctx, fault.Newf(fault.Invalid, "submit", in.Body.Target,
			"a server reads no files of its own; send the archive to /api/v1/archives"))
	}
	for _, platform := range in.Body.Platforms {
		if _, err := oci.ParsePlatform(platform); err != nil {
			return nil, a.problem(ctx, err)
		}
	}
	lane, err := job.ParseLane(in.Body.Lane)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	id, err := submissionID(in.IdempotencyKey)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	wish := store.Submission{ID: id, Target: target.String(), Title: in.Body.Target, Platforms: in.Body.Platforms, Lane: lane}
	recorded, err := a.accept(ctx, wish)
	if err == nil {
		err = sameWish(wish, recorded)
	}
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	return accepted(recorded), nil
}

// sameWish returns an error where an Idempotency-Key was used before, for something else; see
// draft-ietf-httpapi-idempotency-key-header, section 2.7.
func sameWish(wish store.Submission, recorded *store.Submission) error {
	if recorded.Target == wish.Target && slices.Equal(recorded.Platforms, wish.Platforms) && recorded.Lane == wish.Lane {
		return nil
	}
	return fault.Newf(fault.Invalid, "submit", wish.Title, "the Idempotency-Key was used before, for %s", recorded.Target)
}

func accepted(s *store.Submission) *submissionOutput {
	return &submissionOutput{Location: "/api/v1/submissions/" + s.ID, Body: submissionView(s)}
}

// submissionID returns a new id, or the one that belongs to an idempotency key.
func submissionID(key string) (string, error) {
	if key != "" {
		sum := sha256.Sum256([]byte("submission " + key))
		id, err := uuid.FromBytes(sum[:16])
		id[6] = id[6]&0x0f | 0x80 // version 8, RFC 9562: made as we see fit
		id[8] = id[8]&0x3f | 0x80
		return id.String(), err
	}
	id, err := uuid.NewV7()
	return id.String(), err
}

type submissionInput struct {
	ID   string `path:"id" format:"uuid"`
	Wait int    `query:"wait" minimum:"0" maximum:"300" doc:"Seconds to wait for the submission to be done"`
}

func (a *API) submission(ctx context.Context, in *submissionInput) (*submissionOutput, error) {
	var last *Submission
	err := a.follow(ctx, in.ID, time.Duration(in.Wait)*time.Second, func(s *Submission) bool {
		last = s
		return true
	})
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	return &submissionOutput{Location: "/api/v1/submissions/" + in.ID, Body: last}, nil
}

// How often a submission is looked at while somebody waits: often at first, for what is quick.
const (
	minPoll = 25 * time.Millisecond
	maxPoll = 500 * time.Millisecond
)

// follow calls tell with the submission, and again whenever it changed, until it is done, the wait is
// over, ctx is done, the API is told to stop, or tell returns false.
func (a *API) follow(ctx context.Context, id string, wait time.Duration, tell func(*Submission) bool) error {
	deadline := time.Now().Add(wait)
	var before [sha256.Size]byte
	for poll := minPoll; ; poll = min(poll+poll/4, maxPoll) {
		recorded, err := a.config.Store.Submission(ctx, id)
		if err != nil {
			return err
		}
		view := submissionView(recorded)
		now := fingerprint(view)
		if now != before {
			before = now
			if !tell(view) {
				return nil
			}
		}
		left := time.Until(deadline)
		if view.Done() || left <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.stopping:
			return nil
		case <-time.After(min(poll, left)):
		}
	}
}

type eventsInput struct {
	ID string `path:"id" format:"uuid"`
}

// eventsLimit is how long one stream of events lasts at most; clients connect again.
const eventsLimit = 30 * time.Minute

func registerEvents(h huma.API, a *API) {
	// A stream that has begun can be no 404 any more, so it is looked before whether there is anything to follow.
	known := func(ctx huma.Context, next func(huma.Context)) {
		id, err := uuid.Parse(ctx.Param("id"))
		if err == nil {
			_, err = a.config.Store.Submission(ctx.Context(), id.String())
		}
		if fault.KindOf(err) == fault.NotFound {
			_ = huma.WriteErr(h, ctx, http.StatusNotFound, err.Error()) // the peer is gone; there is nobody to tell
			return
		}
		next(ctx)
	}
	sse.Register(h, huma.Operation{
		OperationID: "submission-events", Method: http.MethodGet, Path: "/api/v1/submissions/{id}/events", Tags: []string{"submissions"},
		Summary: "Follow a submission, as server-sent events", Description: "One event for each change, the last one when it is done.",
		Errors: []int{http.StatusNotFound}, Middlewares: huma.Middlewares{known},
	}, map[string]any{"submission": Submission{}, "problem": Problem{}}, func(ctx context.Context, in *eventsInput, send sse.Sender) {
		err := a.follow(ctx, in.ID, eventsLimit, func(s *Submission) bool { return send.Data(*s) == nil })
		if err != nil {
			_ = send.Data(Problem{Kind: fault.KindOf(err).String(), Reason: err.Error()}) // the client is gone, or will see the end
		}
	})
}

// fingerprint tells whether a submission changed.
func fingerprint(s *Submission) [sha256.Size]byte {
	text, err := json.Marshal(s)
	if err != nil {
		return [sha256.Size]byte{} // cannot happen: the type has nothing that JSON has not
	}
	return sha256.Sum256(text)
}
