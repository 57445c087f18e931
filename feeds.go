package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater"
)

func (a *app) updateCommand() *cobra.Command {
	var acceptShrink bool
	command := &cobra.Command{
		Use:   "update [SOURCE…]",
		Short: "Read sources of advisories once",
		Long: `Read sources of advisories once, all by default. A document that has not changed costs one request. A document that
lost much of what it listed is held back until --accept-shrink says that this is right.

With --server, or when a server runs on the data directory, that server is asked to do it.`,
		Example: `  trawl update
  trawl update debian alpine --mirror /srv/mirror`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return sourceNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(command *cobra.Command, names []string) error {
			if a.server == "" {
				if err := updater.CheckNames(names); err != nil {
					return usageError(err)
				}
			}
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error { return a.update(ctx, s, names, acceptShrink) })
		},
	}
	command.Flags().BoolVar(&acceptShrink, "accept-shrink", false, "apply documents however much smaller they are than before")
	a.storeFlags(command.Flags())
	return command
}

// sourceNames are the names of the sources with what they are, for completion.
func sourceNames() []string {
	var names []string
	for _, s := range updater.Sources() {
		names = append(names, s.Name+"\t"+s.Title)
	}
	return names
}

func (a *app) update(ctx context.Context, s *session, names []string, acceptShrink bool) error {
	if s.updater == nil {
		return a.requestUpdate(ctx, s, names)
	}
	bars := a.newBars()
	defer bars.stop()
	outcomes, err := s.updater.Update(ctx, names, updater.Options{AcceptShrink: acceptShrink, Progress: bars.feed})
	if err != nil {
		return err
	}
	bars.stop()
	if a.isJSON() {
		err = printJSON(a.stdout, outcomeViews(outcomes))
	} else {
		a.printOutcomes(outcomes)
	}
	var absent []string
	for _, outcome := range outcomes {
		switch {
		case outcome.Err != nil:
			err = errors.Join(err, fmt.Errorf("update %s: %w", outcome.Source, outcome.Err))
		case !outcome.Found() && len(names) > 0:
			err = errors.Join(err, fault.Newf(fault.NotFound, "update", outcome.Source, "none of its documents is there"))
		case !outcome.Found():
			absent = append(absent, outcome.Source)
		}
	}
	if len(absent) > 0 {
		a.note("there is nothing of %s", strings.Join(absent, ", "))
	}
	return err
}

// requestUpdate has a server read sources; it goes on by itself.
func (a *app) requestUpdate(ctx context.Context, s *session, names []string) error {
	requested, err := s.client.UpdateFeeds(ctx, names)
	if err != nil {
		return err
	}
	if a.isJSON() {
		return printJSON(a.stdout, map[string][]string{"requested": requested})
	}
	a.note("the server will read %s now; trawl feeds list shows how it goes", strings.Join(requested, " and "))
	return nil
}

// outcomeView is the JSON form of how a run went.
type outcomeView struct {
	Source    string  `json:"source"`
	Documents int     `json:"documents"`
	Unchanged int     `json:"unchanged"`
	Records   int     `json:"records"`
	Added     int     `json:"added"`
	Removed   int     `json:"removed"`
	Changed   int     `json:"changed"`
	Findings  int     `json:"findings"`
	Withdrawn int     `json:"withdrawn"`
	Bad       int     `json:"bad"`
	Seconds   float64 `json:"seconds"`
	Error     string  `json:"error"`
}

func outcomeViews(outcomes []updater.Outcome) []outcomeView {
	out := []outcomeView{}
	for _, o := range outcomes {
		v := outcomeView{
			Source: o.Source, Documents: o.Documents, Unchanged: o.Unchanged, Records: o.Delta.Records,
			Added: o.Delta.Added, Removed: o.Delta.Removed, Changed: o.Delta.Changed,
			Findings: o.Delta.Findings, Withdrawn: o.Delta.Withdrawn, Bad: o.Delta.Bad, Seconds: o.Duration.Seconds(),
		}
		if o.Err != nil {
			v.Error = o.Err.Error()
		}
		out = append(out, v)
	}
	return out
}

func (a *app) printOutcomes(outcomes []updater.Outcome) {
	t := newTable("Source", "Documents", "Unchanged", "Records", "Ranges +", "−", "±", "Findings +", "−", "Bad", "Time")
	for _, o := range outcomes {
		d := o.Delta
		t.AppendRow(table.Row{
			o.Source, o.Documents, o.Unchanged, d.Records, d.Added, d.Removed, d.Changed, d.Findings, d.Withdrawn, d.Bad,
			o.Duration.Round(10 * time.Millisecond),
		})
	}
	fmt.Fprintln(a.stdout, t.Render())
	for _, o := range outcomes {
		for i, bad := range o.Delta.BadNamed {
			if i == 5 && !a.isVerbose() {
				a.note("%s: and more records that could not be used; -v lists the first hundred", o.Source)
				break
			}
			a.note("%s: could not use %s: %s", o.Source, bad.Subject, bad.Reason)
		}
	}
}

func (a *app) feedsCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "feeds", Short: "Look at the sources of advisories, and carry them to where there is no network", Args: unknownCommand,
		Long: `Look at the sources of advisories, and carry them to where there is no network.

There are two ways. A mirror is a directory with the documents of the sources as they are published: make one with
trawl feeds mirror, and have other sites read it with --mirror. A bundle is one file with what was read of them: make
one with trawl feeds export, and apply it with trawl feeds import.`,
		Example: `  trawl feeds list
  trawl feeds mirror /srv/mirror
  trawl feeds export feeds.tar.zst --key site.key`,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	list := &cobra.Command{
		Use: "list", Short: "List the sources and how old their data is", Args: noArguments,
		Long: `List the sources of advisories, how old what was read of them is, and how much that is.

With -o json it is an array of objects with name, state, updated, documents, records, ranges, undecided, error and more.`,
		Example: "  trawl feeds list\n  trawl feeds list -o json | jq '.[] | select(.error != \"\")'",
		RunE:    func(command *cobra.Command, _ []string) error { return a.withStore(command.Context(), a.listFeeds) },
	}
	a.storeFlags(list.Flags())
	command.AddCommand(list, a.mirrorCommand(), a.exportCommand(), a.importCommand(), a.keygenCommand())
	return command
}

func (a *app) listFeeds(ctx context.Context, s *session) error {
	sources, err := s.client.Feeds(ctx)
	if err != nil {
		return err
	}
	if a.isJSON() {
		if sources == nil {
			sources = []api.Source{}
		}
		return printJSON(a.stdout, sources)
	}
	a.printFeeds(sources)
	return nil
}
