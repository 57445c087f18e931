package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// scan makes a load of small images, has it scanned, and prints how fast that went and who took what.
func scan(ctx context.Context, w io.Writer, c *local.Cluster, o options) error {
	began := time.Now()
	references, err := c.Push(ctx, local.Load{Images: o.load, Seed: o.seed})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "made %d images in %.1f s\n", o.load, time.Since(began).Seconds())
	profiled := make(chan error, 1)
	if o.profile > 0 {
		go func() { profiled <- c.Profile(ctx, o.profile, o.profiles) }()
	}
	result, err := c.Scan(ctx, references, local.ScanOptions{Requests: o.requests})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "scanned them in %.1f s, %.0f images/s; submitted in %.1f s; %v\n",
		result.Done.Seconds(), result.Rate(), result.Submitted.Seconds(), result.States)
	for _, problem := range result.Problems {
		fmt.Fprintln(w, problem)
	}
	fmt.Fprintf(w, "\n%s\n\n", usage(result))
	if o.profile > 0 {
		fmt.Fprintf(w, "waiting for profiles, see %s\n", o.profiles)
		err = <-profiled
	}
	return err
}

// usage is a table of what each member took, the most first.
func usage(s *local.Scanned) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(table.Row{"Name", "CPU s", "ms/image", "Cores", "Memory MiB", "Peak MiB"})
	rows := slices.Clone(s.Usage)
	slices.SortFunc(rows, func(a, b local.Usage) int { return int(b.CPU - a.CPU) })
	var sum time.Duration
	for _, u := range rows {
		sum += u.CPU
		t.AppendRow(table.Row{
			u.Name, fmt.Sprintf("%.2f", u.CPU.Seconds()), fmt.Sprintf("%.2f", 1000*u.CPU.Seconds()/float64(s.Images)),
			fmt.Sprintf("%.2f", u.CPU.Seconds()/s.Done.Seconds()), u.MemoryBytes >> 20, u.PeakBytes >> 20,
		})
	}
	t.AppendRow(table.Row{"all", fmt.Sprintf("%.2f", sum.Seconds()), fmt.Sprintf("%.2f", 1000*sum.Seconds()/float64(s.Images)),
		fmt.Sprintf("%.2f", sum.Seconds()/s.Done.Seconds()), "", ""})
	return t.Render()
}
