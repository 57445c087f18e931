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
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// scanOptions are the flags of scan alone.
type scanOptions struct {
	platforms []string
	maxAge    time.Duration
	noUpdate  bool
	bulk      bool
	wait      time.Duration
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

A registry that does not answer, or asks to come back later, is asked again. --wait says for how long; a server goes on
after that.

With -o json a report is a JSON object; several follow one another.`,
		Example: `  trawl scan debian:12
  trawl scan --platform linux/arm64 registry.example/app:1.4
  trawl scan app.tar other.tar --fail-on critical
  trawl scan rootfs:rootfs.tar.gz -o json | jq '.findings[].id'`,
		Args: atLeastOne("TARGET"),
		RunE: func(command *cobra.Command, targets []string) error { return a.scan(command.Context(), targets, o) },
	}
	f := command.Flags()
	f.StringSliceVar(&o.platforms, "platform", nil, "`platforms` to scan, such as linux/amd64; default all")
	f.DurationVar(&o.maxAge, "max-age", time.Hour, "read advisories again when they were last looked at longer ago than this")
	f.BoolVar(&o.noUpdate, "no-update", false, "use advisories as they are")
	f.BoolVar(&o.bulk, "bulk", false, "let a server do everything else first")
	f.DurationVar(&o.wait, "wait", time.Minute, "how long to wait for what is not there yet: a registry, or a server's first advisories")
	a.processFlags(f)
	a.coordinatorFlags(f)
	a.workerFlags(f)
	a.registryFlags(f)
	return command
}

// scan submits all targets, waits for them, and prints the reports in their order.
func (a *app) scan(ctx context.Context, texts []string, o scanOptions) (err error) {
	targets, err := findTargets(texts, o)
	if err != nil {
		return err
	}
	s, err := a.connect(ctx, needScan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	bars := a.newBars()
	defer bars.stop()
	scans := make([]scanned, len(targets))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, target := range targets {
		g.Go(func() error {
			scans[i] = a.scanOne(ctx, s, target, texts[i], bars, o)
			return nil
		})
	}
	_ = g.Wait() // what failed stands in scans
	var reports []*report.Report
	var failed []error
	for i, done := range scans {
		if len(done.reports) > 1 && !a.isJSON() {
			bars.say("%s: %d images; --platform chooses among them", texts[i], len(done.reports))
		}
		reports, failed = append(reports, done.reports...), append(failed, done.err)
	}
	if ctx.Err() == nil {
		reports, err = a.refresh(ctx, s, reports, bars, o)
		failed = append(failed, err)
	}
	bars.stop()
	return a.finish(reports, failed)
}

// atOnce is how many targets are followed at the same time.
const atOnce = 16

// findTargets reads what is to be scanned, before anything is started for it.
func findTargets(texts []string, o scanOptions) ([]oci.Target, error) {
	targets := make([]oci.Target, len(texts))
	for i, text := range texts {
		var err error
		if targets[i], err = oci.FindTarget(text); err != nil {
			return nil, &exitErr{exitUsageOr(err), err}
		}
	}
	for _, p := range o.platforms {
		if _, err := oci.ParsePlatform(p); err != nil {
			return nil, usageError(err)
		}
	}
	return targets, nil
}

// scanned is what became of one target. Both may be there: of an image for several platforms one may have failed.
type scanned struct {
	reports []*report.Report
	err     error
}

// scanOne submits one target, waits until it is done, and reads its reports.
func (a *app) scanOne(ctx context.Context, s *session, target oci.Target, text string, bars *bars, o scanOptions) (out scanned) {
	submission, err := a.submit(ctx, s, target, text, o)
	if err == nil {
		submission, err = a.follow(ctx, s, submission, text, bars, o.wait)
	}
	if err != nil {
		return scanned{err: fault.Wrap("scan", text, err)}
	}
	out.reports, out.err = a.reports(ctx, s, text, submission, bars)
	return out
}

// follow shows how far a submission is until it is done. It gives up one that is to be tried again only after wait.
func (a *app) follow(ctx context.Context, s *session, submission *api.Submission, text string, bars *bars, wait time.Duration) (*api.Submission, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	deadline := time.Now().Add(wait)
	var told time.Time
	done, err := s.client.Follow(ctx, submission.ID, func(now *api.Submission) {
		bars.submission(text, now)
		until, problem := parked(now)
		if problem == nil || until.Equal(told) {
			return
		}
		told = until
		in := time.Until(until).Round(time.Second)
		if until.After(deadline) {
			giveUp(fault.Newf(fault.Parse(problem.Kind), "wait", in.String(), "%s (--wait says for how long to wait)", problem.Reason))
			return
		}
		bars.say("%s: trying again in %s: %s", text, in, problem.Reason)
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return done, err
}

// parked returns when what a submission waits for is tried again and why it has to be; nil where it waits for nothing
// of the kind.
func parked(s *api.Submission) (until time.Time, problem *api.Problem) {
	if s.State == api.StateParked && s.NotBefore != nil {
		return *s.NotBefore, s.Problem
	}
	for _, image := range s.Images {
		if image.NotBefore != nil && image.NotBefore.After(until) {
			until, problem = *image.NotBefore, image.Problem
		}
	}
	return until, problem
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
		text, err := absolute(target)
		if err != nil {
			return nil, err
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

// absolute returns the text of a target that means the same wherever it is read.
func absolute(target oci.Target) (string, error) {
	if !target.IsLocal() {
		return target.String(), nil
	}
	path, err := filepath.Abs(target.Ref)
	return oci.Target{Scheme: target.Scheme, Ref: path}.String(), err
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
func (a *app) reports(ctx context.Context, s *session, asked string, done *api.Submission, bars *bars) ([]*report.Report, error) {
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
			bars.say("not scanned: %s %s: %s", skipped.Platform, skipped.Digest, skipped.Reason)
		case a.isVerbose():
			bars.say("skipped: %s %s: %s", skipped.Platform, skipped.Digest, skipped.Reason)
		}
	}
	if done.State == api.StateIncomplete && slices.ContainsFunc(done.Skipped, func(s api.Skipped) bool { return s.Missed }) {
		return out, &exitErr{code: exitIncomplete}
	}
	return out, nil
}

// finish prints the reports and says by the exit code what they amount to.
func (a *app) finish(reports []*report.Report, failed []error) error {
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
// not known. What could not be compared, what no source covers, and findings whose severity nobody told fail only a
// gate: without one they are said, and no error.
func (a *app) judge(reports []*report.Report) error {
	limit, gate := a.failOnSeverity()
	incomplete, unrated := false, 0
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
		unrated += r.Summary.Severities[advisory.Unknown.String()]
	}
	if gate && unrated > 0 {
		a.note("--fail-on %s cannot judge %s of unknown severity", a.failOn, plural(unrated, "finding"))
		incomplete = true
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
