package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// statuses maps what an error means to what HTTP says of it. There is no other place that does.
var statuses = map[fault.Kind]int{
	fault.Unknown:      http.StatusInternalServerError,
	fault.Invalid:      http.StatusUnprocessableEntity,
	fault.NotFound:     http.StatusNotFound,
	fault.Unauthorized: http.StatusForbidden,
	fault.Corrupt:      http.StatusUnprocessableEntity,
	fault.TooLarge:     http.StatusRequestEntityTooLarge,
	fault.Unsupported:  http.StatusUnsupportedMediaType,
	fault.RateLimited:  http.StatusTooManyRequests,
	fault.Unavailable:  http.StatusServiceUnavailable,
	fault.Conflict:     http.StatusConflict,
	fault.Canceled:     http.StatusServiceUnavailable,
}

// problem returns the answer to an error as a problem document (RFC 9457), or nil for none. The type is
// "/problems/" and the name of the fault's kind. What is our own trouble and says nothing about the request
// is not told to strangers in full: the log has it.
func (a *API) problem(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.KindOf(err)
	status := statuses[kind]
	p := &huma.ErrorModel{Type: "/problems/" + kind.String(), Title: http.StatusText(status), Status: status, Detail: err.Error()}
	if status < http.StatusInternalServerError {
		return p
	}
	if ctx.Err() == nil { // else the client went away, and the rest is noise
		a.log.Error("request failed", "error", err)
	}
	p.Detail = "the request could not be served now; the server's log says why"
	after := max(1, int(fault.AfterOf(err).Seconds()))
	return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {strconv.Itoa(after)}})
}
