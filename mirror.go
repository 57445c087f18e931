package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/updater"
	"github.com/trawl-scanner/trawl/updater/fetch"
	"github.com/trawl-scanner/trawl/updater/mirror"
)

func (a *app) mirrorCommand() *cobra.Command {
	var keep time.Duration
	command := &cobra.Command{
		Use: "mirror DIR [SOURCE…]", Short: "Fill a directory with the documents of the sources",
		Long: `Fill a directory with the documents of the sources, all by default, or bring it up to date. Others read it with
--mirror DIR, or --mirror URL where a web server serves it: https://HOST/PATH lies at DIR/HOST/PATH.

With --mirror, the documents come from another mirror. A document that has not changed costs one request; what is
needed for that lies in DIR/.trawl-mirror. Without that folder, every document is transferred again.

Documents are put in place one by one, lists after what they name, so DIR may be read at any time. A run that was
stopped or killed is gone on with by the next one. A source that fails is named at the end, keeps the documents that it
has, and does not stop the others; the exit code is 1 then.

With -o json the result is an array of objects with source, documents, fetched, bytes, removed, gone, seconds and error.`,
		Example: `  trawl feeds mirror /srv/mirror
  trawl feeds mirror /srv/mirror debian alpine
  trawl feeds mirror /media/usb/mirror --mirror https://mirror.example/feeds
  trawl update --mirror /media/usb/mirror`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(errors.New("feeds mirror: want a directory"))
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return sourceNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(command *cobra.Command, args []string) error {
			return a.fillMirror(command.Context(), args[0], args[1:], keep)
		},
	}
	command.Flags().DurationVar(&keep, "keep", 31*24*time.Hour, "how long documents stay that a source no longer names")
	return command
}

func (a *app) fillMirror(ctx context.Context, dir string, names []string, keep time.Duration) (err error) {
	if err := updater.CheckNames(names); err != nil {
		return usageError(err)
	}
	if a.mirror != "" && filepath.Clean(a.mirror) == filepath.Clean(dir) {
		return usageError(fmt.Errorf("feeds mirror: %s cannot be filled from itself", dir))
	}
	into, err := mirror.Open(dir, fetch.Config{Mirror: a.mirror, UserAgent: "trawl/" + version})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, into.Close()) }()
	bars := a.newBars()
	defer bars.stop()
	outcomes, err := updater.Mirror(ctx, into, names, updater.MirrorOptions{Keep: keep, Progress: bars.feed})
	bars.stop()
	var failed []error
	for _, outcome := range outcomes {
		if outcome.Err != nil && ctx.Err() == nil {
			failed = append(failed, fmt.Errorf("mirror %s: %w", outcome.Source, outcome.Err))
		}
	}
	if a.isJSON() {
		return errors.Join(append(failed, err, printJSON(a.stdout, mirroredViews(outcomes)))...)
	}
	a.printMirrored(outcomes)
	return errors.Join(append(failed, err)...)
}

// mirroredView is the JSON form of how the mirroring of a source went.
type mirroredView struct {
	Source    string   `json:"source"`
	Documents int      `json:"documents"`
	Fetched   int      `json:"fetched"`
	Bytes     int64    `json:"bytes"`
	Removed   int      `json:"removed"`
	Gone      []string `json:"gone"`
	Seconds   float64  `json:"seconds"`
	Error     string   `json:"error"`
}

func mirroredViews(outcomes []updater.Mirrored) []mirroredView {
	out := []mirroredView{}
	for _, o := range outcomes {
		v := mirroredView{
			Source: o.Source, Documents: o.Documents, Fetched: o.Fetched, Bytes: o.Bytes, Removed: o.Removed,
			Gone: append([]string{}, o.Gone...), Seconds: o.Duration.Seconds(),
		}
		if o.Err != nil {
			v.Error = o.Err.Error()
		}
		out = append(out, v)
	}
	return out
}

func (a *app) printMirrored(outcomes []updater.Mirrored) {
	t := newTable("Source", "Documents", "Fetched", "Size", "Removed", "Time", "Result")
	var documents, fetched, removed int
	var bytes int64
	for _, o := range outcomes {
		result := "ok"
		switch {
		case o.Err != nil:
			result = "failed"
		case o.Documents == 0:
			result = "nothing there"
		}
		t.AppendRow(table.Row{o.Source, o.Documents, o.Fetched, size(o.Bytes), o.Removed, o.Duration.Round(10 * time.Millisecond), result})
		documents, fetched, removed, bytes = documents+o.Documents, fetched+o.Fetched, removed+o.Removed, bytes+o.Bytes
	}
	t.AppendRow(table.Row{"all", documents, fetched, size(bytes), removed})
	t.SetColumnConfigs([]table.ColumnConfig{
		{Name: "Documents", Align: text.AlignRight}, {Name: "Fetched", Align: text.AlignRight},
		{Name: "Size", Align: text.AlignRight}, {Name: "Removed", Align: text.AlignRight},
	})
	fmt.Fprintln(a.stdout, t.Render())
	for _, o := range outcomes {
		if len(o.Gone) > 0 {
			a.note("%s: upstream no longer has what the mirror keeps: %s", o.Source, strings.Join(o.Gone, ", "))
		}
	}
}
