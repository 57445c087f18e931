package api

import (
	"cmp"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// traced makes a span of each request, a child of the one that the client names in the header traceparent. It is called by
// the route, as metrics are.
func (a *API) traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := tracing.With(r.Context(), r.Header.Get("Traceparent"))
		ctx, span := a.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
		if !span.IsRecording() {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		r = r.WithContext(ctx)
		defer func() { // also where the connection is cut on purpose, by a panic
			span.SetName(cmp.Or(r.Pattern, method(r.Method)+" none"))
			span.SetAttributes(attribute.Int("http.response.status_code", recorder.status))
			span.End()
		}()
		next.ServeHTTP(recorder, r)
	})
}
