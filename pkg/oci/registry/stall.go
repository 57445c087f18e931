package registry

import (
	"context"
	"errors"
	"io"
	"time"
)

// errStalled says that a body stood still for [Config.IdleTimeout].
var errStalled = errors.New("transfer stalled")

// watch returns body with its reads watched: one that takes longer than the idle timeout cancels
// the request, whose context it is given. The time that the reader takes between reads does not count.
// To close the result cancels the request.
func (c *Client) watch(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser) io.ReadCloser {
	timer := time.AfterFunc(c.cfg.IdleTimeout, func() { cancel(errStalled) })
	timer.Stop()
	return &watchedBody{ctx: ctx, cancel: cancel, body: body, timer: timer, idle: c.cfg.IdleTimeout}
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

func (b *watchedBody) Close() error {
	b.timer.Stop()
	b.cancel(context.Canceled)
	return b.body.Close()
}
