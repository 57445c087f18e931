package coordinator

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/pkg/tracing"
)

// askTimeout bounds one attempt to resolve a submission, all of its manifests, tokens and configurations included, and
// readTimeout that of an archive, which has to be read.
const (
	askTimeout  = 2 * time.Minute
	readTimeout = 10 * time.Minute
)

// hostOf returns the host of the registry that a target is in, "" for what is on this machine or is no target.
func hostOf(target string) string {
	t, err := oci.ParseTarget(target)
	if err != nil || t.IsLocal() {
		return ""
	}
	host, _, _ := strings.Cut(t.Ref, "/")
	return host
}

// resolveOne finds out what a submission means.
func (r *resolving) resolveOne(ctx context.Context, t task) outcome {
	submission, record := t.submission, t.record
	timeout := askTimeout
	if hostOf(submission.Target) == "" {
		timeout = readTimeout
	}
	late := fault.Newf(fault.Unavailable, "wait for", "an answer", "it took more than %s altogether", timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	ctx, span := r.tracer.Start(tracing.With(ctx, record.Header(queue.TraceParent)), "resolve",
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("trawl.submission", submission.ID), attribute.String("trawl.target", submission.Target)))
	out := outcome{record: record, submission: submission, trace: tracing.Parent(ctx)}
	out.resolution, out.err = resolveImages(ctx, r.config.OCI, submission)
	tracing.End(span, out.err)
	return out
}

// resolveImages asks the registry what a submission's target is.
func resolveImages(ctx context.Context, client *oci.Client, submission store.Submission) (store.Resolution, error) {
	target, err := oci.ParseTarget(submission.Target)
	if err != nil {
		return store.Resolution{}, err
	}
	var wanted oci.Selection
	for _, text := range submission.Platforms {
		platform, err := oci.ParsePlatform(text)
		if err != nil {
			return store.Resolution{}, err
		}
		wanted = append(wanted, platform)
	}
	resolved, err := client.Resolve(ctx, target, wanted)
	if err != nil {
		return store.Resolution{}, fault.Wrap("resolve", submission.Target, err)
	}
	out := store.Resolution{
		Submission: submission.ID, Reference: resolved.Reference, Repository: resolved.Repository,
		Digest: resolved.Digest, Lane: submission.Lane,
	}
	for _, image := range resolved.Images {
		layers, err := layerJobs(resolved.Repository, image.Layers)
		if err != nil {
			return store.Resolution{}, fault.Wrap("resolve", submission.Target, err)
		}
		out.Images = append(out.Images, store.ResolvedImage{
			Digest: image.Digest, Platform: image.Platform.String(), Built: image.Created, Layers: layers,
		})
	}
	for _, skipped := range resolved.Skipped {
		out.Skipped = append(out.Skipped, store.Skipped{
			Digest: skipped.Digest, Platform: skipped.Platform.String(), Reason: skipped.Reason, Missed: skipped.Missed,
		})
	}
	return out, nil
}

// maxMediaTypeBytes is the length of the longest media type (RFC 6838, section 4.2). What is longer is none, and left out.
const maxMediaTypeBytes = 255

// layerJobs returns the jobs for the layers of an image. A layer of which no job could be made is an error: it
// must not be found out when jobs are sent, for many images at once.
func layerJobs(repository string, layers []oci.Layer) ([]job.Layer, error) {
	out := make([]job.Layer, len(layers))
	for i, layer := range layers {
		if len(layer.MediaType) > maxMediaTypeBytes {
			layer.MediaType = ""
		}
		out[i] = job.Layer{
			Digest: layer.Digest, MediaType: layer.MediaType, Size: layer.Size, Inflated: layer.Inflated, Prefix: layer.Prefix,
		}
		probe := out[i]
		probe.Repositories = []string{repository}
		if _, err := probe.Encode(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
