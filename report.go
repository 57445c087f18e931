package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/report"
)

func (a *app) reportCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "report TARGET|DIGEST…",
		Short: "Print stored reports, correlated as of now",
		Long: `Print the reports of images that were scanned before, from what is stored: nothing is pulled, and advisories that
became known since the scan are taken into account.`,
		Example: `  trawl report debian:12
  trawl report app.tar
  trawl report sha256:4bc453b53cb3d914b45f4b250294236adba2c0e09ff6f03793949e7e39fd4cc1 -o json`,
		Args: atLeastOne("TARGET or DIGEST"),
		RunE: func(command *cobra.Command, names []string) error {
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error { return a.report(ctx, s, names) })
		},
	}
	a.storeFlags(command.Flags())
	return command
}

func (a *app) report(ctx context.Context, s *session, names []string) error {
	var reports []*report.Report
	for _, name := range names {
		digests, err := a.digestsOf(ctx, s, name)
		if err != nil {
			return err
		}
		for _, d := range digests {
			r, err := s.client.Report(ctx, d, name)
			if err != nil {
				return err
			}
			reports = append(reports, r)
		}
	}
	return a.finish(reports, nil)
}

// digestsOf returns the images that a digest names, or whatever can be scanned.
func (a *app) digestsOf(ctx context.Context, s *session, name string) ([]digest.Digest, error) {
	d, err := digest.Parse(name)
	if err == nil {
		return []digest.Digest{d}, nil
	}
	if strings.HasPrefix(name, "sha256:") || strings.HasPrefix(name, "sha512:") {
		return nil, usageError(err)
	}
	target, err := oci.FindTarget(name)
	if err != nil {
		return nil, &exitErr{exitUsageOr(err), err}
	}
	text, err := absolute(target)
	if err != nil {
		return nil, err
	}
	list, err := s.client.Images(ctx, text)
	if err != nil {
		return nil, err
	}
	var out []digest.Digest
	for _, image := range list.Images {
		out = append(out, image.Digest)
	}
	return out, nil
}
