package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/api"
)

func (a *app) watchCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "watch",
		Short: "Scan references again whenever they move",
		Long: `References under watch are looked at again and again, which is one small request each. One that points at something
else than what was scanned is scanned, and what that changes in its findings is recorded. A server does this; without
one the lists can be edited, and nobody looks.`,
		Example: "  trawl watch add debian:12 --every 6h\n  trawl watch changes debian:12",
		Args:    unknownCommand,
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(a.watchAddCommand(), a.watchRemoveCommand(), a.watchListCommand(), a.watchChangesCommand())
	return command
}

func (a *app) watchAddCommand() *cobra.Command {
	var every time.Duration
	var platforms []string
	command := &cobra.Command{
		Use: "add REFERENCE…", Short: "Watch references",
		Example: "  trawl watch add debian:12 registry.example/app:latest --every 6h",
		Args:    atLeastOne("REFERENCE"),
		RunE: func(command *cobra.Command, references []string) error {
			if every < time.Minute {
				return usageError(errors.New("--every must be a minute or more"))
			}
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error {
				for _, reference := range references {
					w, err := s.client.Watch(ctx, api.NewWatch{Reference: reference, Platforms: platforms, Seconds: int(every / time.Second)})
					if err != nil {
						return err
					}
					a.note("watching %s", w.Reference)
				}
				return nil
			})
		},
	}
	command.Flags().DurationVar(&every, "every", 24*time.Hour, "from one look to the next")
	command.Flags().StringSliceVar(&platforms, "platform", nil, "`platforms` to scan, such as linux/amd64; default all")
	a.storeFlags(command.Flags())
	return command
}

func (a *app) watchRemoveCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "remove REFERENCE…", Short: "Stop watching references",
		Example: "  trawl watch remove debian:12",
		Args:    atLeastOne("REFERENCE"),
		RunE: func(command *cobra.Command, references []string) error {
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error {
				for _, reference := range references {
					if err := s.client.Unwatch(ctx, reference); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	a.storeFlags(command.Flags())
	return command
}

func (a *app) watchListCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "list", Short: "List the references under watch",
		Example: "  trawl watch list -o json",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.withStore(command.Context(), a.listWatches)
		},
	}
	a.storeFlags(command.Flags())
	return command
}

func (a *app) listWatches(ctx context.Context, s *session) error {
	list := []api.Watch{}
	for after := ""; ; {
		page, err := s.client.Watches(ctx, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		list = append(list, page...)
		after = page[len(page)-1].Reference
	}
	if a.isJSON() {
		return printJSON(a.stdout, list)
	}
	t := newTable("Reference", "Every", "Checked", "Digest", "Error")
	for _, w := range list {
		digest := ""
		if !w.Digest.IsZero() {
			digest = w.Digest.String()
		}
		t.AppendRow(table.Row{w.Reference, time.Duration(w.Seconds) * time.Second, agoOrNever(w.Checked), digest, w.Error})
	}
	fmt.Fprintln(a.stdout, t.Render())
	return nil
}

func (a *app) watchChangesCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "changes REFERENCE", Short: "Show what moves of a reference changed in its findings",
		Example: "  trawl watch changes debian:12",
		Args:    atLeastOne("REFERENCE"),
		RunE: func(command *cobra.Command, references []string) error {
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error {
				changes := []api.Change{}
				for _, reference := range references {
					more, err := s.client.Changes(ctx, reference)
					if err != nil {
						return err
					}
					changes = append(changes, more...)
				}
				return a.printChanges(changes)
			})
		},
	}
	a.storeFlags(command.Flags())
	return command
}

func (a *app) printChanges(changes []api.Change) error {
	if a.isJSON() {
		return printJSON(a.stdout, changes)
	}
	t := newTable("When", "Change", "Severity", "Package", "Version", "Vulnerability", "Platform")
	for _, c := range changes {
		t.AppendRow(table.Row{ago(c.At), c.Change, c.Severity, c.Package, c.Installed, c.ID, c.Platform})
	}
	fmt.Fprintln(a.stdout, t.Render())
	return nil
}
