package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// Rules of what is printed: results go to stdout, everything else to stderr; a table is for people and may
// change, JSON is for programs and may not; color only where a person looks.

// printJSON writes v indented, for programs and for people who pipe it to one.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// newTable returns an empty table with a heading.
func newTable(heading ...string) table.Writer {
	t := table.NewWriter()
	t.SuppressTrailingSpaces()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatUpper
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	row := make(table.Row, len(heading))
	for i, h := range heading {
		row[i] = h
	}
	t.AppendHeader(row)
	return t
}

// severityColors are for the word alone, so that a table without them reads the same.
var severityColors = map[advisory.Severity]text.Colors{
	advisory.Critical: {text.FgHiRed, text.Bold},
	advisory.High:     {text.FgRed},
	advisory.Medium:   {text.FgYellow},
	advisory.Low:      {text.FgCyan},
}

// printReport writes a report for people.
func (a *app) printReport(r *report.Report) {
	w := a.stdout
	title := r.Image.Reference
	if title == "" {
		title = r.Image.Digest.String()
	}
	fmt.Fprintf(w, "%s\n", a.bold(title))
	fmt.Fprintf(w, "  digest        %s\n", r.Image.Digest)
	if r.Image.Platform != "" {
		fmt.Fprintf(w, "  platform      %s\n", r.Image.Platform)
	}
	if r.Distribution.Namespace != "" {
		fmt.Fprintf(w, "  distribution  %s (%s)\n", r.Distribution.Name, r.Distribution.Namespace)
	} else {
		fmt.Fprintf(w, "  distribution  not recognized\n")
	}
	fmt.Fprintf(w, "  packages      %d in %s\n", r.Summary.Packages, plural(len(r.Layers), "layer"))
	for _, s := range r.Coverage.Sources {
		fmt.Fprintf(w, "  advisories    %s, %s\n", s.Name, a.age(s))
	}
	if len(r.Findings) > 0 {
		fmt.Fprintln(w)
		a.findingsTable(r)
	}
	fmt.Fprintf(w, "\n%s\n", a.verdict(r))
	a.printUncovered(r)
}

// age says how old the data of a source is.
func (a *app) age(s report.CoverageSource) string {
	if s.Updated == nil {
		return "not read yet"
	}
	out := "read " + ago(*s.Updated)
	if s.Checked != nil && s.Checked.Sub(*s.Updated) > time.Minute {
		out += ", unchanged " + ago(*s.Checked)
	}
	if s.Error != "" {
		out += "; the last update failed: " + s.Error
	}
	return out
}

func (a *app) findingsTable(r *report.Report) {
	t := newTable("Severity", "Package", "Installed", "Fixed in", "Vulnerability", "State")
	for _, f := range r.Findings {
		fixed := f.Fixed
		if fixed == "" {
			fixed = "-"
		}
		severity := f.Severity.String()
		if color, ok := severityColors[f.Severity]; ok && a.color {
			severity = color.Sprint(severity)
		}
		t.AppendRow(table.Row{severity, f.Package, f.Installed, fixed, f.ID, strings.ReplaceAll(f.State.String(), "_", " ")})
	}
	fmt.Fprintln(a.stdout, t.Render())
}

// verdict says in one line what was found, and never more than is known.
func (a *app) verdict(r *report.Report) string {
	compared := r.Coverage.Status == report.Covered || r.Coverage.Status == report.Partial
	if !compared || (r.Coverage.Status == report.Partial && len(r.Findings) == 0) {
		return a.bold("Not known whether vulnerable: ") + r.Coverage.Note + "."
	}
	if len(r.Findings) == 0 {
		return a.bold("No known vulnerabilities: ") + r.Coverage.Note + "."
	}
	var counts []string
	for _, s := range advisory.Severities() {
		if n := r.Summary.Severities[s.String()]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return fmt.Sprintf("%s (%s in %s): %s. %d can be fixed by an update.",
		a.bold(plural(len(r.Findings), "finding")), plural(r.Summary.Advisories, "vulnerability"), plural(affectedPackages(r), "package"),
		strings.Join(counts, ", "), r.Summary.Fixable)
}

func affectedPackages(r *report.Report) int {
	seen := make(map[string]bool)
	for _, f := range r.Findings {
		seen[f.Package+"\x00"+f.Arch+"\x00"+f.Installed] = true
	}
	return len(seen)
}

// printUncovered lists what the report does not cover.
func (a *app) printUncovered(r *report.Report) {
	w := a.stdout
	if n := len(r.Coverage.Failed); n > 0 {
		fmt.Fprintf(w, "\n%s could not be read:\n", a.bold(plural(n, "part")))
		for _, f := range r.Coverage.Failed {
			place := "layer " + f.Layer.Short()
			if f.Path != "" {
				place = f.Path + " in " + place
			}
			fmt.Fprintf(w, "  %s: %s\n", place, f.Reason)
		}
	}
	if n := len(r.Coverage.Undecided); n > 0 {
		fmt.Fprintf(w, "\n%s undecided:\n", a.bold(plural(n, "case")))
		const most = 20
		for i, u := range r.Coverage.Undecided {
			if i == most && !a.isVerbose() {
				fmt.Fprintf(w, "  and %d more; -v lists all\n", n-most)
				break
			}
			fmt.Fprintf(w, "  %s %s %s: %s\n", u.Package, u.Version, u.ID, u.Reason)
		}
	}
}

// printFeeds writes the sources for people.
func (a *app) printFeeds(sources []api.Source) {
	t := newTable("Source", "State", "Changed", "Checked", "Documents", "Records", "Ranges", "Undecided", "Error")
	for _, s := range sources {
		t.AppendRow(table.Row{s.Name, s.State, agoOrNever(s.Updated), agoOrNever(s.Checked), s.Documents, s.Records, s.Ranges, s.Undecided, clip(s.Error, 60)})
	}
	t.SetColumnConfigs([]table.ColumnConfig{
		{Name: "Documents", Align: text.AlignRight}, {Name: "Records", Align: text.AlignRight},
		{Name: "Ranges", Align: text.AlignRight}, {Name: "Undecided", Align: text.AlignRight},
	})
	fmt.Fprintln(a.stdout, t.Render())
}

// bold marks what a person should see first.
func (a *app) bold(s string) string {
	if !a.color {
		return s
	}
	return text.Bold.Sprint(s)
}

// plural returns "1 layer", "2 layers", "3 vulnerabilities".
func plural(n int, noun string) string {
	if n != 1 {
		if stem, ok := strings.CutSuffix(noun, "y"); ok {
			noun = stem + "ies"
		} else {
			noun += "s"
		}
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// ago says how long ago a time was, in the largest unit that fits.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func agoOrNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return ago(*t)
}

// size returns a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// clip shortens a text for a table.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
