package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
)

// TestTrace follows one submission through a cluster of one: a single trace leads from the client's request to the commit.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	if err := letPass(dir); err != nil {
		t.Fatal(err)
	}
	spans := tracetest.NewInMemoryExporter()
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, beside: true, tracing: sdk.NewTracerProvider(sdk.WithSyncer(spans))}
	a.rootCommand() // sets what flags are by default
	a.dataDir = filepath.Join(dir, "data")
	p, err := a.startProcess(t.Context(), true, roleCoordinator, roleWorker, roleAPI)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	clustertest.Go(t, p.run)
	server := httptest.NewServer(p.api.Handler())
	t.Cleanup(server.Close)

	clustertest.Eventually(t, "all shards are owned", func() bool {
		picture, err := p.cluster.Picture(t.Context())
		return err == nil && picture.Unowned == 0
	})
	// The sweep may find a submission before its job is sent, and send one without a trace. So there are some tries.
	for try := range 5 {
		trace := fmt.Sprintf("0af7651916cd43dd8448eb211c80319%d", try)
		archive := filepath.Join(dir, fmt.Sprintf("root%d.tar", try))
		files := maps.Clone(debianFiles)
		files["etc/motd"] = archive // another layer each time
		if err := os.WriteFile(archive, tarOf(t, files), 0o644); err != nil {
			t.Fatal(err)
		}
		submitTraced(t, server.URL, "rootfs:"+archive, trace)
		if byName := spansOf(t, spans, trace); byName["commit"].Name != "" {
			checkTrace(t, byName)
			return
		}
	}
	t.Errorf("no trace leads to a commit; there are %v", spans.GetSpans())
}

// clientSpan is the span of the client that submits.
const clientSpan = "b7ad6b7169203331"

// submitTraced submits a target and waits until it is done.
func submitTraced(t *testing.T, server, target, trace string) {
	t.Helper()
	body := fmt.Sprintf(`{"target": %q}`, target)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/api/v1/submissions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Traceparent", "00-"+trace+"-"+clientSpan+"-01")
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != http.StatusAccepted {
		t.Fatal(response, err)
	}
	response.Body.Close()
	done, err := http.Get(server + response.Header.Get("Location") + "?wait=60")
	if err != nil || done.StatusCode != http.StatusOK {
		t.Fatal(done, err)
	}
	done.Body.Close()
}

// spansOf returns the spans of a trace by name, once the last of them is there. The commit's is written right after the
// commit; so is waited for a moment.
func spansOf(t *testing.T, spans *tracetest.InMemoryExporter, trace string) map[string]tracetest.SpanStub {
	t.Helper()
	byName := make(map[string]tracetest.SpanStub)
	for deadline := time.Now().Add(2 * time.Second); byName["commit"].Name == "" && time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		for _, span := range spans.GetSpans() {
			if span.SpanContext.TraceID().String() == trace {
				byName[span.Name] = span
			}
		}
	}
	return byName
}

func checkTrace(t *testing.T, byName map[string]tracetest.SpanStub) {
	t.Helper()
	parent := clientSpan
	for _, name := range []string{"POST /api/v1/submissions", "submit", "resolve", "layer", "commit"} {
		span, ok := byName[name]
		if !ok || span.Parent.SpanID().String() != parent {
			t.Errorf("%s: below %s, want %s", name, span.Parent.SpanID(), parent)
		}
		parent = span.SpanContext.SpanID().String()
	}
	if layer := byName["layer"]; !layer.EndTime.After(layer.StartTime) || len(layer.Attributes) < 4 {
		t.Errorf("layer: %+v", layer)
	}
}

// TestTracesAreSent runs a scan that sends its traces to a collector.
func TestTracesAreSent(t *testing.T) {
	got := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + string(text)
	}))
	defer collector.Close()
	dir := t.TempDir()
	if err := letPass(dir); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "root.tar")
	if err := os.WriteFile(archive, tarOf(t, debianFiles), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	run([]string{"scan", "--data-dir", filepath.Join(dir, "data"), "--trace-endpoint", collector.URL, "rootfs:" + archive}, strings.NewReader(""), io.Discard, &stderr)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case text := <-got:
		if !strings.HasPrefix(text, "POST /v1/traces ") || !strings.Contains(text, "service.name") {
			t.Errorf("the collector got %.200q", text)
		}
	case <-ctx.Done():
		t.Errorf("the collector got nothing; the scan said %s", stderr.String())
	}
}
