package worker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// beginLayer starts the span in which a layer is pulled and analyzed, below the one that its job carries.
func (w *Worker) beginLayer(ctx context.Context, t task) (context.Context, trace.Span) {
	return w.tracer.Start(tracing.With(ctx, t.record.Header(queue.TraceParent)), "layer",
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("trawl.layer", t.layer.Digest.String()), attribute.Int("trawl.shard", t.record.Partition)))
}

func endLayer(span trace.Span, stats extract.Stats, err error) {
	span.SetAttributes(
		attribute.Int64("trawl.compressed_bytes", stats.CompressedBytes), attribute.Int64("trawl.inflated_bytes", stats.InflatedBytes),
		attribute.Int64("trawl.entries", stats.Entries))
	tracing.End(span, err)
}

// traceCommit notes in each trace of a batch that its result was committed. One transaction is a span in many traces.
func (w *Worker) traceCommit(ctx context.Context, batch []result, started time.Time) {
	ended := time.Now()
	for _, r := range batch {
		if r.trace == "" {
			continue
		}
		_, span := w.tracer.Start(tracing.With(ctx, r.trace), "commit", trace.WithTimestamp(started),
			trace.WithAttributes(attribute.Int("trawl.batch", len(batch))))
		span.End(trace.WithTimestamp(ended))
	}
}
