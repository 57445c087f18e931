package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/digest"
)

func (a *app) requeueCommand() *cobra.Command {
	var what api.Requeue
	command := &cobra.Command{
		Use: "requeue [DIGEST|REFERENCE]…", Short: "Try again what was given up",
		Long: `Try again what was given up: submissions that could not be resolved, and layers that could not be analyzed.

They get their attempts back, and the server sends them again within seconds. An image keeps its result until it has a new
one. A digest means a layer, or the layers of an image; a reference means what was submitted under it, and the layers of
the images that it points at; --reason takes all that failed for a reason with this text in it. trawl status shows what
failed, and why.

Where no server runs, the work waits in the database for the next one.`,
		Example: `  trawl requeue --all --dry-run
  trawl requeue --reason unauthorized --server http://trawl.example:6060
  trawl requeue docker.io/library/debian:12 sha256:94288e0dd9c7…`,
		RunE: func(command *cobra.Command, names []string) error {
			if !what.All && what.Reason == "" && len(names) == 0 {
				return usageError(errors.New("requeue needs to know what: a digest, a reference, --reason TEXT or --all"))
			}
			for _, name := range names {
				if d, err := digest.Parse(name); err == nil {
					what.Digests = append(what.Digests, d.String())
				} else {
					what.References = append(what.References, name)
				}
			}
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error { return a.requeue(ctx, s, what) })
		},
	}
	f := command.Flags()
	f.BoolVar(&what.All, "all", false, "everything that was given up")
	f.StringVar(&what.Reason, "reason", "", "`text` in the reason for which it was given up, in whatever case")
	f.BoolVar(&what.DryRun, "dry-run", false, "show what would be done, and do nothing")
	a.storeFlags(f)
	return command
}

// requeue has it done in as many steps as it takes, and prints what was done.
func (a *app) requeue(ctx context.Context, s *session, what api.Requeue) error {
	all := api.Requeued{Submissions: []api.Matter{}, Layers: []api.Matter{}}
	for {
		part, err := s.client.Requeue(ctx, what)
		if err != nil {
			return err
		}
		all.Submissions, all.Layers = append(all.Submissions, part.Submissions...), append(all.Layers, part.Layers...)
		all.More = part.More
		if what.DryRun || !part.More { // not until none is left: what fails at once would be requeued for ever
			break
		}
	}
	if a.isJSON() {
		return printJSON(a.stdout, all)
	}
	printMatters(a.stdout, "Requeued", append(all.Submissions, all.Layers...))
	done := "requeued"
	if what.DryRun {
		done = "would requeue"
	}
	if all.More {
		done += " at least"
	}
	a.note("%s %s and %s", done, plural(len(all.Submissions), "submission"), plural(len(all.Layers), "layer"))
	return nil
}
