// Package client speaks to the API, over a network or inside one process.
//
// Errors carry the kind that the server's problem document tells.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// Client calls one server. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// New returns a client of the server at an address such as "http://localhost:6060"; "http://" is assumed where
// no scheme is given.
func New(address string) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fault.Newf(fault.Invalid, "read server address", address, "want http://HOST:PORT or https://HOST:PORT")
	}
	return &Client{base: strings.TrimSuffix(u.String(), "/"), http: &http.Client{Transport: newTransport()}}, nil
}

// newTransport keeps a connection for each of the calls that a program has under way; the transport that comes with the
// library keeps two to a server, and connects anew for all beyond.
func newTransport() http.RoundTripper {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	own := shared.Clone()
	own.MaxIdleConnsPerHost = 64
	return own
}

// Inside returns a client of a handler in this process.
func Inside(handler http.Handler) *Client {
	return &Client{base: "http://trawl.internal", http: &http.Client{Transport: inside{handler}}}
}

// Submit has a reference scanned.
func (c *Client) Submit(ctx context.Context, submission api.NewSubmission) (*api.Submission, error) {
	var out api.Submission
	return &out, c.call(ctx, http.MethodPost, "/api/v1/submissions", submission, &out)
}

// Upload has an archive scanned.
func (c *Client) Upload(ctx context.Context, archive io.Reader, name string, platforms []string) (*api.Submission, error) {
	query := url.Values{"name": {name}}
	if len(platforms) > 0 {
		query.Set("platforms", strings.Join(platforms, ","))
	}
	var out api.Submission
	return &out, c.call(ctx, http.MethodPost, "/api/v1/archives?"+query.Encode(), archive, &out)
}

// Follow calls tell with the submission whenever it changed, until it is done. It returns the last state.
func (c *Client) Follow(ctx context.Context, id string, tell func(*api.Submission)) (*api.Submission, error) {
	for {
		last, err := c.events(ctx, id, tell)
		if err != nil || (last != nil && last.Done()) {
			return last, err
		}
	}
}

// events reads one stream of events to its end.
func (c *Client) events(ctx context.Context, id string, tell func(*api.Submission)) (*api.Submission, error) {
	response, err := c.do(ctx, http.MethodGet, "/api/v1/submissions/"+id+"/events", nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var last *api.Submission
	var event string
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			event = value
		case field == "data" && event == "problem":
			var p api.Problem
			if err := json.Unmarshal([]byte(value), &p); err != nil {
				return last, c.garbled(err)
			}
			return last, fault.New(fault.Parse(p.Kind), "follow", id, errors.New(p.Reason))
		case field == "data":
			last = new(api.Submission)
			if err := json.Unmarshal([]byte(value), last); err != nil {
				return nil, c.garbled(err)
			}
			tell(last)
		}
	}
	if err := lines.Err(); err != nil {
		return last, fault.New(fault.Unavailable, "follow", id, err)
	}
	return last, nil
}

// Images returns what a reference points at.
func (c *Client) Images(ctx context.Context, reference string) (*api.ImageList, error) {
	var out api.ImageList
	return &out, c.call(ctx, http.MethodGet, "/api/v1/images?reference="+url.QueryEscape(reference), nil, &out)
}

// Report returns the report of an image; reference is what is to stand in it as asked for.
func (c *Client) Report(ctx context.Context, image digest.Digest, reference string) (*report.Report, error) {
	var out report.Report
	return &out, c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/images/%s/report?reference=%s", image, url.QueryEscape(reference)), nil, &out)
}

// Watch has a reference looked at again and again.
func (c *Client) Watch(ctx context.Context, watch api.NewWatch) (*api.Watch, error) {
	var out api.Watch
	return &out, c.call(ctx, http.MethodPut, "/api/v1/watches", watch, &out)
}

// Unwatch ends that.
func (c *Client) Unwatch(ctx context.Context, reference string) error {
	response, err := c.do(ctx, http.MethodDelete, "/api/v1/watches?reference="+url.QueryEscape(reference), nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Watches returns the references under watch behind one, in their order; "" is before all. The last page is empty.
func (c *Client) Watches(ctx context.Context, after string) ([]api.Watch, error) {
	var out []api.Watch
	return out, c.call(ctx, http.MethodGet, "/api/v1/watches?after="+url.QueryEscape(after), nil, &out)
}

// Changes returns what moves of a reference changed in its findings, the newest first.
func (c *Client) Changes(ctx context.Context, reference string) ([]api.Change, error) {
	var out []api.Change
	return out, c.call(ctx, http.MethodGet, "/api/v1/changes?reference="+url.QueryEscape(reference), nil, &out)
}

// Feeds returns the sources of advisories.
func (c *Client) Feeds(ctx context.Context) ([]api.Source, error) {
	var out []api.Source
	return out, c.call(ctx, http.MethodGet, "/api/v1/feeds", nil, &out)
}

// UpdateFeeds asks for sources to be read now, all for none. It returns their names.
func (c *Client) UpdateFeeds(ctx context.Context, sources []string) ([]string, error) {
	var out struct {
		Requested []string `json:"requested"`
	}
	err := c.call(ctx, http.MethodPost, "/api/v1/feeds/update", map[string]any{"sources": sources}, &out)
	return out.Requested, err
}

// Status returns the state of the service.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	var out api.Status
	return &out, c.call(ctx, http.MethodGet, "/api/v1/status", nil, &out)
}

// Requeue has what was given up tried again, and returns what that is.
func (c *Client) Requeue(ctx context.Context, what api.Requeue) (*api.Requeued, error) {
	var out api.Requeued
	return &out, c.call(ctx, http.MethodPost, "/api/v1/requeue", what, &out)
}

// call makes a request and decodes the answer. A body that is a reader is sent as it is, anything else as JSON.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	response, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return c.garbled(err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader = http.NoBody
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		content, contentType = b, "application/octet-stream"
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fault.New(fault.Invalid, "encode", path, err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, fault.New(fault.Invalid, "call", c.base, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		kind := fault.Unavailable
		if ctx.Err() != nil {
			kind = fault.Canceled
		}
		return nil, fault.New(kind, "call", c.base, err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, refused(response)
}

// refused returns the error that a problem document tells.
func refused(response *http.Response) error {
	var p struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Detail == "" {
		return fault.Newf(fault.Unavailable, "call", response.Request.URL.Redacted(), "the server answers %s", response.Status)
	}
	for _, e := range p.Errors {
		p.Detail += "; " + strings.TrimSpace(e.Location+" "+e.Message)
	}
	e := &refusal{detail: p.Detail, kind: fault.Parse(strings.TrimPrefix(p.Type, "/problems/"))}
	if e.kind == fault.Unknown && response.StatusCode < 500 {
		e.kind = fault.Invalid
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		e.after = time.Duration(seconds) * time.Second
	}
	return e
}

// refusal is an error of the server, in its own words.
type refusal struct {
	kind   fault.Kind
	detail string
	after  time.Duration
}

func (e *refusal) Error() string { return e.detail }

// FaultKind returns the kind that the server told.
func (e *refusal) FaultKind() fault.Kind { return e.kind }

func (c *Client) garbled(err error) error {
	return fault.New(fault.Corrupt, "read the answer of", c.base, err)
}
