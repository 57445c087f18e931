package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// flushTimeout is how long the last spans may take to be sent when the process ends.
const flushTimeout = 5 * time.Second

// startTracing makes the provider of traces, if traces are asked for: by --trace-endpoint or by the standard's variables, of
// which OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say how many requests are traced
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
func (p *process) startTracing(ctx context.Context) error {
	endpoint := cmp.Or(p.app.traceEndpoint, os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if p.app.tracing != nil {
		p.tracing = p.app.tracing
		return nil
	}
	if endpoint == "" || os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return nil
	}
	var options []otlptracehttp.Option
	if p.app.traceEndpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(strings.TrimRight(endpoint, "/")+"/v1/traces"))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return usageError(fault.New(fault.Invalid, "send traces to", endpoint, err))
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "trawl"), attribute.String("service.version", version),
		attribute.String("service.instance.id", p.name), attribute.StringSlice("trawl.roles", p.roles),
	), resource.WithFromEnv()) // which is last, and wins
	if err != nil {
		return usageError(fault.New(fault.Invalid, "describe", "this process", err))
	}
	otel.SetErrorHandler(&traceErrors{log: p.log})
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	p.tracing = provider
	p.closers = append(p.closers, func() error {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(late); err != nil {
			p.log.Warn("cannot send the last traces", "error", err)
		}
		return nil
	})
	return nil
}

// traceErrors logs why traces cannot be sent, once for each reason in turn.
type traceErrors struct {
	log  *slog.Logger
	mu   sync.Mutex
	last string
}

// Handle implements [otel.ErrorHandler].
func (t *traceErrors) Handle(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := err.Error(); text != t.last {
		t.last = text
		t.log.Warn("cannot send traces", "error", err)
	}
}
