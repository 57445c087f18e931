package client

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// inside is a transport that calls a handler in this process. The answer streams: its body can be read while
// the handler writes.
type inside struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t inside) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body == nil {
		request.Body = http.NoBody
	}
	r, w := io.Pipe()
	answer := &pipedAnswer{header: make(http.Header), body: w, begun: make(chan struct{})}
	go func() {
		defer request.Body.Close()
		t.handler.ServeHTTP(answer, request)
		answer.WriteHeader(http.StatusOK)
		_ = w.Close()
	}()
	select {
	case <-answer.begun:
	case <-request.Context().Done():
		r.CloseWithError(request.Context().Err())
		return nil, request.Context().Err()
	}
	return &http.Response{
		StatusCode: answer.status, Status: http.StatusText(answer.status), Header: answer.sent, Request: request,
		Body: r, ContentLength: -1, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// pipedAnswer is the writer that the handler gets. It is used by the handler's goroutine alone, until begun.
type pipedAnswer struct {
	header, sent http.Header
	status       int
	body         *io.PipeWriter
	begun        chan struct{}
}

// Header implements [http.ResponseWriter].
func (a *pipedAnswer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *pipedAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	}
}

// Write implements [io.Writer].
func (a *pipedAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	n, err := a.body.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		err = http.ErrHandlerTimeout // the reader is gone
	}
	return n, err
}

// Flush implements [http.Flusher]: what is written is passed on at once.
func (a *pipedAnswer) Flush() {}

// SetWriteDeadline is for [http.ResponseController]: there is no peer to be slow.
func (a *pipedAnswer) SetWriteDeadline(time.Time) error { return nil }
