package api

import (
	"context"
	"encoding/json"
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

// kindOfStatus says what a status means that was not made of a fault: huma's own checks of a request have one.
func kindOfStatus(status int) fault.Kind {
	switch status {
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusRequestEntityTooLarge:
		return fault.TooLarge
	case http.StatusUnsupportedMediaType, http.StatusNotAcceptable, http.StatusMethodNotAllowed:
		return fault.Unsupported
	}
	if status < http.StatusInternalServerError {
		return fault.Invalid
	}
	return fault.Unknown
}

// problemType is the type of the problem documents of a kind of fault.
func problemType(kind fault.Kind) string { return "/problems/" + kind.String() }

// withType gives a problem document its type where it has none yet. It is a [huma.Transformer].
func withType(_ huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*huma.ErrorModel); ok && p.Type == "" {
		p.Type = problemType(kindOfStatus(p.Status))
	}
	return v, nil
}

// unknown answers a request that matches no operation. answer is what the router would do.
func unknown(w http.ResponseWriter, r *http.Request, answer http.Handler) {
	plain := &discarded{header: w.Header()}
	answer.ServeHTTP(plain, r) // sets Allow where the method is what is wrong
	if plain.status < http.StatusBadRequest {
		w.WriteHeader(plain.status) // a redirect to the clean form of the path
		return
	}
	p := &huma.ErrorModel{
		Type: problemType(kindOfStatus(plain.status)), Title: http.StatusText(plain.status), Status: plain.status,
		Detail: "there is no operation " + r.Method + " " + r.URL.Path + "; /openapi.json lists what there is",
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(plain.status)
	_ = json.NewEncoder(w).Encode(p) // the peer is gone; there is nobody to tell
}

// discarded takes an answer of which only status and header count.
type discarded struct {
	header http.Header
	status int
}

// Header implements [http.ResponseWriter].
func (d *discarded) Header() http.Header { return d.header }

// WriteHeader implements [http.ResponseWriter].
func (d *discarded) WriteHeader(status int) { d.status = status }

// Write implements [http.ResponseWriter].
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }

// problem returns the answer to an error as a problem document (RFC 9457), or nil for none. The type is
// "/problems/" and the name of the fault's kind. What is our own trouble and says nothing about the request
// is not told to strangers in full: the log has it.
func (a *API) problem(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	kind := fault.KindOf(err)
	status := statuses[kind]
	p := &huma.ErrorModel{Type: problemType(kind), Title: http.StatusText(status), Status: status, Detail: err.Error()}
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
