package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// errStalled says that a body stood still for [Config.IdleTimeout].
var errStalled = errors.New("transfer stalled")

// roundTrip makes one request, without following where it is redirected to. The reads of the body are
// watched: one that takes longer than the idle timeout ends the request. The time that the reader
// takes between reads does not count.
func (c *Client) roundTrip(ctx context.Context, req *http.Request) (*http.Response, error) {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := c.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, explain(parent, req.URL, err)
	}
	timer := time.AfterFunc(c.cfg.IdleTimeout, func() { cancel(errStalled) })
	timer.Stop()
	resp.Body = &watchedBody{ctx: ctx, cancel: cancel, body: resp.Body, timer: timer, idle: c.cfg.IdleTimeout}
	return resp, nil
}

type watchedBody struct {
	ctx    context.Context //nolint:containedctx // of the request, whose cause says why a read failed
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	timer  *time.Timer
	idle   time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// Close ends the request, however much of the body is left.
func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(context.Canceled)
	return err
}
