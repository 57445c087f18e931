package tracing

import (
	"errors"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestCarry(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	ctx, first := Tracer(provider, "a").Start(t.Context(), "first")
	text := Parent(ctx)
	if want := "00-" + first.SpanContext().TraceID().String() + "-" + first.SpanContext().SpanID().String() + "-01"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	_, second := Tracer(provider, "b").Start(With(t.Context(), text), "second")
	End(second, errors.New("no"))
	End(first, nil)
	got := spans.GetSpans()
	if len(got) != 2 || got[0].Parent.SpanID() != got[1].SpanContext.SpanID() || !got[0].Parent.IsRemote() {
		t.Errorf("%+v", got)
	}
	if got[0].Status.Code != codes.Error || got[1].Status.Code != codes.Unset {
		t.Errorf("status %v and %v", got[0].Status, got[1].Status)
	}
}

func TestNothing(t *testing.T) {
	ctx, span := Tracer(nil, "a").Start(t.Context(), "nothing")
	End(span, nil)
	if got := Parent(ctx); got != "" {
		t.Errorf("%q of no span", got)
	}
	for _, text := range []string{"", "garbage", "00-00000000000000000000000000000000-0000000000000000-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		if got := Parent(With(t.Context(), text)); got != "" {
			t.Errorf("%q became %q", text, got)
		}
	}
}
