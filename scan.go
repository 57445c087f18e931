package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/report"
	"github.com/trawl-scanner/trawl/updater"
)

// scanOptions are the flags of scan alone.
type scanOptions struct {
	platforms []string
	maxAge    time.Duration
	noUpdate  bool
	bulk      bool
}

func (a *app) scanCommand() *cobra.Command {
	var o scanOptions
	command := &cobra.Command{
		Use:   "scan TARGET…",
		Short: "Scan images and print their reports",
		Long: `Scan images and print their reports.

A TARGET is a reference, or docker-archive:FILE, oci-archive:FILE, oci-dir:DIR, aci:FILE or rootfs:FILE (a tar of a
root file system); a plain path is detected by its content. Of an image for several platforms all are scanned unless
--platform says otherwise.

With --server, or when a server runs on the data directory, that server does the work; archives are uploaded to it.
Otherwise the whole pipeline runs in this process and keeps what it learned in the data directory, so that a second
scan reads only layers that are new. It then reads the advisories that the images' distributions need, unless they
were read a short while ago.

With -o json a report is a JSON object; several follow one another.`,
		Example: `  trawl scan debian:12
  trawl scan --platform linux/arm64 registry.example/app:1.4
  trawl scan app.tar other.tar --fail-on critical
  trawl scan rootfs:rootfs.tar.gz -o json | jq '.findings[].id'`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(command *cobra.Command, targets []string) error { return a.scan(command.Context(), targets, o) },
	}
	f := command.Flags()
	f.StringSliceVar(&o.platforms, "platform", nil, "`platforms` to scan, such as linux/amd64; default all")
	f.DurationVar(&o.maxAge, "max-age", time.Hour, "read advisories again when they were last looked at longer ago than this")
	f.BoolVar(&o.noUpdate, "no-update", false, "use advisories as they are")
	f.BoolVar(&o.bulk, "bulk", false, "let a server do everything else first")
	a.processFlags(f)
	a.coordinatorFlags(f)
	a.workerFlags(f)
	a.registryFlags(f)
	setDefault(f, "introspection", "")
	return command
}

// scan submits all targets, waits for them, and prints the reports in their order.
func (a *app) scan(ctx context.Context, targets []string, o scanOptions) (err error) {
	parsed := make([]oci.Target, len(targets))
	for i, text := range targets {
		if parsed[i], err = oci.FindTarget(text); err != nil {
			return &exitErr{exitUsageOr(err), err}
		}
	}
	for _, p := range o.platforms {
		if _, err := oci.ParsePlatform(p); err != nil {
			return usageError(err)
		}
	}
	s, err := a.connect(ctx, needScan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	bars := a.newBars()
	defer bars.stop()
	var failed []error
	submissions := make([]*api.Submission, len(parsed))
	for i, target := range parsed {
		if submissions[i], err = a.submit(ctx, s, target, targets[i], o); err != nil {
			failed = append(failed, fault.Wrap("scan", targets[i], err))
		}
	}
	var reports []*report.Report
	for i, submission := range submissions {
		if submission == nil {
			continue
		}
		done, err := s.client.Follow(ctx, submission.ID, func(now *api.Submission) { bars.submission(targets[i], now) })
		if err != nil {
			return fault.Wrap("scan", targets[i], err)
		}
		got, err := a.reports(ctx, s, targets[i], done)
		reports = append(reports, got...)
		failed = append(failed, err)
	}
	if reports, err = a.refresh(ctx, s, reports, bars, o); err != nil {
		failed = append(failed, err)
	}
	bars.stop()
	return a.finish(reports, failed)
}

// exitUsageOr tells whether an error about a target is one of how the program was called.
func exitUsageOr(err error) int {
	if fault.KindOf(err) == fault.Invalid {
		return exitUsage
	}
	return exitError
}

// submit has one target scanned. A server gets the content of what is on this machine, the pipeline in this
// process its name.
func (a *app) submit(ctx context.Context, s *session, target oci.Target, asked string, o scanOptions) (*api.Submission, error) {
	lane := "now"
	if o.bulk {
		lane = "bulk"
	}
	if !target.IsLocal() || s.local {
		text := target.String()
		if target.IsLocal() {
			path, err := filepath.Abs(target.Ref)
			if err != nil {
				return nil, err
			}
			text = oci.Target{Scheme: target.Scheme, Ref: path}.String()
		}
		return s.client.Submit(ctx, api.NewSubmission{Target: text, Platforms: o.platforms, Lane: lane})
	}
	content, err := openArchive(target)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return s.client.Upload(ctx, content, asked, o.platforms)
}

// openArchive opens what is to be uploaded; a directory becomes a tar of itself.
func openArchive(target oci.Target) (io.ReadCloser, error) {
	if target.Scheme != oci.OCIDir {
		file, err := os.Open(target.Ref)
		if err != nil {
			return nil, fault.New(fault.NotFound, "open", target.Ref, err)
		}
		return file, nil
	}
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		w.CloseWithError(errors.Join(t.AddFS(os.DirFS(target.Ref)), t.Close()))
	}()
	return r, nil
}

// reports reads the reports of a submission that is done.
func (a *app) reports(ctx context.Context, s *session, asked string, done *api.Submission) ([]*report.Report, error) {
	if done.State == api.StateFailed {
		return nil, fault.New(fault.Parse(done.Problem.Kind), "scan", asked, errors.New(done.Problem.Reason))
	}
	var out []*report.Report
	for _, image := range done.Images {
		r, err := s.client.Report(ctx, image.Digest, asked)
		if err != nil {
			return out, fault.Wrap("read report of", asked, err)
		}
		out = append(out, r)
	}
	for _, skipped := range done.Skipped {
		switch {
		case skipped.Missed:
			a.note("not scanned: %s %s: %s", skipped.Platform, skipped.Digest, skipped.Reason)
		case a.isVerbose():
			a.note("skipped: %s %s: %s", skipped.Platform, skipped.Digest, skipped.Reason)
		}
	}
	if done.State == api.StateIncomplete && slices.ContainsFunc(done.Skipped, func(s api.Skipped) bool { return s.Missed }) {
		return out, &exitErr{code: exitIncomplete}
	}
	return out, nil
}

// refresh reads the advisories that the reports need, where this process has to do so itself, and then
// reads the reports again.
func (a *app) refresh(ctx context.Context, s *session, reports []*report.Report, bars *bars, o scanOptions) ([]*report.Report, error) {
	if s.updater == nil || o.noUpdate || len(reports) == 0 {
		return reports, nil
	}
	var namespaces []string
	for _, r := range reports {
		if n := r.Coverage.Namespace; n != "" && len(r.Packages) > 0 && !slices.Contains(namespaces, n) {
			namespaces = append(namespaces, n)
		}
	}
	if len(namespaces) == 0 {
		return reports, nil
	}
	options := updater.Options{Namespaces: namespaces, MaxAge: o.maxAge, Progress: bars.feed}
	if a.mirror != "" {
		options.MaxAge = 0 // it is near, and may be another one than last time
	}
	outcomes, err := s.updater.Update(ctx, nil, options)
	if err != nil {
		return reports, err
	}
	for _, outcome := range outcomes {
		if outcome.Err != nil {
			a.note("warning: advisories of %s are not up to date: %v", outcome.Source, outcome.Err)
		}
	}
	for i, r := range reports {
		if reports[i], err = s.client.Report(ctx, r.Image.Digest, r.Image.Reference); err != nil {
			return reports, err
		}
	}
	return reports, nil
}

// finish prints the reports and says by the exit code what they amount to.
func (a *app) finish(reports []*report.Report, failed []error) error {
	if len(reports) > 1 && !a.isJSON() {
		a.note("%d images; --platform chooses among those of one name", len(reports))
	}
	for i, r := range reports {
		if a.isJSON() {
			if err := printJSON(a.stdout, r); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		a.printReport(r)
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return a.judge(reports)
}

// judge returns the exit code that the reports ask for. A finding that reaches --fail-on counts more than what is
// not known. What no source covers fails only a gate: without one it is said, and no error.
func (a *app) judge(reports []*report.Report) error {
	limit, gate := a.failOnSeverity()
	incomplete := false
	for _, r := range reports {
		worst, any := r.Worst()
		if gate && any && worst >= limit {
			return &exitErr{code: exitFailOn}
		}
		switch r.Coverage.Status {
		case report.Covered:
		case report.NotYetRead:
			incomplete = true
		default:
			incomplete = incomplete || gate
		}
		incomplete = incomplete || r.State != report.Complete
	}
	if incomplete {
		return &exitErr{code: exitIncomplete}
	}
	return nil
}

func (a *app) failOnSeverity() (advisory.Severity, bool) {
	if a.failOn == "" {
		return advisory.Unknown, false
	}
	limit, err := advisory.ParseSeverity(a.failOn)
	return limit, err == nil
}

func (a *app) checkFailOn() error {
	if a.failOn == "" {
		return nil
	}
	if _, err := advisory.ParseSeverity(a.failOn); err != nil {
		return usageError(err)
	}
	return nil
}
