package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/api"
)

func (a *app) statusCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "status", Short: "Show leader, members, queues, rates, and what needs attention", Args: noArguments,
		Long: `Show the state of a server: the one that --server names, or that runs on the data directory. Where none runs, what is
stored is shown.

It tells who leads and who is there, which shards have an owner, how many jobs wait in which lane, how fast images and
layers are done, and what is parked until when, given up, or stuck, each with its reason. What was given up can be tried
again: trawl requeue.`,
		Example: "  trawl status --server http://trawl.example:6060\n  trawl status -o json | jq .attention.failed",
		RunE: func(command *cobra.Command, _ []string) error {
			return a.withStore(command.Context(), func(ctx context.Context, s *session) error {
				status, err := s.client.Status(ctx)
				if err != nil {
					return err
				}
				if a.isJSON() {
					return printJSON(a.stdout, status)
				}
				a.printStatus(status)
				return nil
			})
		},
	}
	a.storeFlags(command.Flags())
	return command
}

// printStatus writes the state of the service for people.
func (a *app) printStatus(s *api.Status) {
	w := a.stdout
	fmt.Fprintf(w, "version   %s\n", s.Version)
	a.printCluster(s.Cluster)
	b := s.Backlog
	fmt.Fprintf(w, "backlog   %s (%d parked), %s, %s to send (%d parked), %d with workers; given up %s, %s\n",
		plural(b.SubmissionsQueued, "submission"), b.SubmissionsParked, plural(b.ImagesPending, "image"),
		plural(b.LayersUnsent, "layer"), b.LayersParked, b.LayersSent, plural(b.SubmissionsFailed, "submission"), plural(b.LayersFailed, "layer"))
	for _, r := range s.Rates {
		fmt.Fprintf(w, "rate      %s images/s, %s layers/s over the last %s\n",
			perSecond(r.ImagesPerSecond), perSecond(r.LayersPerSecond), time.Duration(r.Seconds)*time.Second)
	}
	t := s.Totals
	fmt.Fprintf(w, "holds     %d images, %d layers, %d inventories, %d packages, %d ranges, %d findings in %s\n",
		t.Images, t.Layers, t.Inventories, t.Packages, t.Ranges, t.Findings, size(t.Bytes))
	if len(s.Cluster.Members) > 0 {
		members := newTable("Member", "Roles", "Address", "Load", "Capacity", "Shards", "Version")
		for _, m := range s.Cluster.Members {
			slices.Sort(m.Roles)
			members.AppendRow(table.Row{m.Name, strings.Join(m.Roles, ","), m.Address, m.Load, m.Capacity, m.Shards, m.Version})
		}
		fmt.Fprintf(w, "\n%s\n", members.Render())
	}
	printBudgets(w, s.Budgets)
	printMatters(w, "Stuck", s.Attention.Stuck)
	printMatters(w, "Parked", s.Attention.Parked)
	printMatters(w, "Given up", s.Attention.Failed)
}

// printCluster writes who does what.
func (a *app) printCluster(c api.Cluster) {
	w := a.stdout
	switch {
	case c.Leader != "":
		fmt.Fprintf(w, "leader    %s since %s, term %d\n", c.Leader, ago(c.Since), c.Term)
	case len(c.Members) > 0:
		fmt.Fprintf(w, "leader    none\n")
	default:
		fmt.Fprintf(w, "server    none runs on %s; this is what is stored\n", a.dataDir)
		return
	}
	fmt.Fprintf(w, "shards    %d of 256 owned, %d assigned to nobody\n", 256-c.Unowned, c.Unassigned)
	if !c.LagKnown {
		fmt.Fprintf(w, "queue     not known: Kafka does not answer\n")
		return
	}
	fmt.Fprintf(w, "queue     %s and %s for those who wait, %d and %d in bulk\n",
		plural(int(c.ImagesLagNow), "submission"), plural(int(c.LagNow), "layer"), c.ImagesLagBulk, c.LagBulk)
}

// printBudgets writes a table of what registries allow, as far as they say.
func printBudgets(w io.Writer, budgets []api.Budget) {
	rows := newTable("Registry", "Requests", "Account", "Limit", "Remaining", "Paused until", "Reason")
	for _, b := range budgets {
		limit, remaining, until := "", "", ""
		if b.Limit != nil {
			limit = fmt.Sprintf("%d in %s", *b.Limit, time.Duration(b.Seconds)*time.Second)
		}
		if b.Remaining != nil {
			remaining = fmt.Sprint(*b.Remaining)
		}
		if b.PausedUntil != nil {
			until = b.PausedUntil.Local().Format(time.DateTime)
		}
		if limit+remaining+until != "" {
			rows.AppendRow(table.Row{b.Host, b.Kind, b.Account, limit, remaining, until, b.Reason})
		}
	}
	if rows.Length() > 0 {
		fmt.Fprintf(w, "\n%s\n", rows.Render())
	}
}

// reasonWidth is how much of a reason a table shows; -o json has all of it.
const reasonWidth = 90

// printMatters writes a table of what needs attention, if there is any.
func printMatters(w io.Writer, heading string, matters []api.Matter) {
	if len(matters) == 0 {
		return
	}
	rows := newTable(heading, "Target", "Lane", "Attempts", "Since", "Until", "Reason")
	for _, m := range matters {
		what, reason, until := "layer "+m.Layer.String(), "", ""
		if m.Submission != "" {
			what = "submission " + m.Submission
		}
		if m.Problem != nil {
			reason = m.Problem.Kind + ": " + m.Problem.Reason
		}
		if m.Until != nil {
			until = m.Until.Local().Format(time.DateTime)
		}
		since := ""
		if m.Since != nil {
			since = ago(*m.Since)
		}
		rows.AppendRow(table.Row{clip(what, 30), m.Target, m.Lane, m.Attempts, since, until, clip(reason, reasonWidth)})
	}
	fmt.Fprintf(w, "\n%s\n", rows.Render())
}

// perSecond writes a rate with as many digits as it is worth.
func perSecond(rate float64) string {
	if rate > 0 && rate < 10 {
		return fmt.Sprintf("%.2f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}
