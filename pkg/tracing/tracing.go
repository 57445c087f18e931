// Package tracing provides what carries a trace from one process to the next: the trace context as text, in the form of
// W3C Trace Context, section 3.2 (https://www.w3.org/TR/trace-context/#traceparent-header).
//
// It exports nothing and decides nothing about sampling; the program makes the provider, roles start the spans. Of the
// context only "traceparent" travels: messages are small, and "tracestate" is for systems that do not take part here.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// module begins the names of tracers.
const module = "github.com/trawl-scanner/trawl/"

// header is the name under which the standard's own code wants the text.
const header = "traceparent"

// Tracer returns the tracer of a role. Of a nil provider it is one that does nothing.
func Tracer(provider trace.TracerProvider, role string) trace.Tracer {
	if provider == nil {
		provider = noop.NewTracerProvider()
	}
	return provider.Tracer(module + role)
}

// Parent returns the span of ctx as text, or "" where there is none.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// With returns ctx with the span of that text as its parent. A text that is none changes nothing.
func With(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{header: parent})
}

// End ends a span, as failed if there is an error.
func End(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
