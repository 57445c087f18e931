package main

import (
	"context"
	"slices"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/report"
	"github.com/trawl-scanner/trawl/updater"
)

// refresh reads the advisories that the reports need, where this process has to do so itself, and then
// reads the reports again.
func (a *app) refresh(ctx context.Context, s *session, reports []*report.Report, bars *bars, o scanOptions) ([]*report.Report, error) {
	if o.noUpdate || len(reports) == 0 {
		return reports, nil
	}
	if s.updater == nil {
		return reports, a.awaitAdvisories(ctx, s, reports, bars, o.wait)
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
			bars.say("warning: advisories of %s are not up to date: %v", outcome.Source, outcome.Err)
		}
	}
	if err := reread(ctx, s, reports); err != nil || !a.needsScores(reports) {
		return reports, err
	}
	if _, err := s.updater.Update(ctx, []string{"nvd"}, updater.Options{MaxAge: options.MaxAge, Progress: bars.feed}); err != nil {
		return reports, err
	}
	return reports, reread(ctx, s, reports)
}

// reread reads the reports again.
func reread(ctx context.Context, s *session, reports []*report.Report) (err error) {
	for i, r := range reports {
		if reports[i], err = s.client.Report(ctx, r.Image.Digest, r.Image.Reference); err != nil {
			return err
		}
	}
	return nil
}

// needsScores reports whether --fail-on cannot judge a finding because its vendor told no severity.
func (a *app) needsScores(reports []*report.Report) bool {
	_, gate := a.failOnSeverity()
	return gate && slices.ContainsFunc(reports, func(r *report.Report) bool { return r.Summary.Severities[advisory.Unknown.String()] > 0 })
}

// awaitAdvisories gives a server that has just been started for the first time a moment to read advisories.
func (a *app) awaitAdvisories(ctx context.Context, s *session, reports []*report.Report, bars *bars, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(5 * glance)
	defer tick.Stop()
	told := false
	for i := 0; i < len(reports); {
		r := reports[i]
		if r.Coverage.Status != report.NotYetRead || r.State == report.Pending {
			i++
			continue
		}
		if !told {
			told = true
			bars.say("waiting for the server to read the advisories for %s", r.Coverage.Namespace)
		}
		select {
		case <-ctx.Done():
			return nil // the report says what is missing
		case <-tick.C:
		}
		again, err := s.client.Report(ctx, r.Image.Digest, r.Image.Reference)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			reports[i] = again
		}
	}
	return nil
}
