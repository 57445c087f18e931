package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater"
	"github.com/trawl-scanner/trawl/updater/bundle"
)

func (a *app) exportCommand() *cobra.Command {
	var key, since string
	command := &cobra.Command{
		Use: "export FILE [SOURCE…]", Short: "Write what is known of the sources into one file",
		Long: `Write what is known of the sources, all by default, into one file, to be applied elsewhere with trawl feeds import: the
advisories and their ranges, scores, and what is known of exploitation, all as of one moment. The file is a tar archive
compressed with zstd; its manifest lists each feed, its version and the checksum of its records: tar --zstd -xOf FILE manifest.json shows it.

With --key, the manifest is signed. trawl feeds keygen makes a key.

With --since, feeds that did not change since another bundle are left out. It takes that bundle, or the manifest.json out
of it. Such a file can be applied where that other one was.`,
		Example: `  trawl feeds export feeds.tar.zst --key site.key
  trawl feeds export monday.tar.zst --key site.key --since sunday.tar.zst`,
		Args: wantFile("feeds export"), ValidArgsFunction: completeFileAndSources,
		RunE: func(command *cobra.Command, args []string) error {
			return a.exportBundle(command.Context(), args[0], args[1:], key, since)
		},
	}
	command.Flags().StringVar(&key, "key", "", "`file` with the key to sign with")
	command.Flags().StringVar(&since, "since", "", "`file`: leave out what did not change since that bundle, or manifest")
	a.storeFlags(command.Flags())
	return command
}

func (a *app) importCommand() *cobra.Command {
	var keys []string
	var unsigned bool
	var options updater.ImportOptions
	command := &cobra.Command{
		Use: "import FILE", Short: "Apply a file that was made with export",
		Long: `Apply a file that was made with trawl feeds export. It has the same effects as reading the sources: findings follow, what
changed is recorded, and a feed that lost much of what it listed is held back until --accept-shrink says that this is
right.

The file has to be signed by the key that --public-key names. All of it is verified before anything is applied. Each
feed is applied whole or not at all, so an import that was broken off is repeated. A feed that is older than what is
known is refused; --force applies it. A feed that is not taken does not stop the others; the exit code is 1 then.

With -o json the result is an array of objects with source, feed, content, result, records, added, removed, changed,
findings, withdrawn, seconds and error; result is "applied", "unchanged" or "refused".`,
		Example: `  trawl feeds import feeds.tar.zst --public-key site.pub
  trawl feeds import feeds.tar.zst --insecure-unsigned`,
		Args: wantFile("feeds import"),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(fmt.Errorf("feeds import: unexpected %q", args[1]))
			}
			return a.importBundle(command.Context(), args[0], keys, unsigned, options)
		},
		ValidArgsFunction: completeFileAndSources,
	}
	f := command.Flags()
	f.StringSliceVar(&keys, "public-key", nil, "`files` with the keys one of which has to have signed it")
	f.BoolVar(&unsigned, "insecure-unsigned", false, "take a file whoever made it")
	f.BoolVar(&options.Force, "force", false, "apply feeds that are older than what is known")
	f.BoolVar(&options.AcceptShrink, "accept-shrink", false, "apply documents however much smaller they are than before")
	a.storeFlags(f)
	return command
}

func (a *app) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keygen NAME", Short: "Make a key to sign exports with",
		Long: `Make a key to sign exports with: NAME.key, to be kept secret where exports are made, and NAME.pub, for those who
import. They are Ed25519 keys as PEM files, which openssl reads too. Files that are there are left alone.`,
		Example: "  trawl feeds keygen site",
		Args:    wantFile("feeds keygen"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.makeKey(args[0]) },
	}
}

// wantFile checks that there is a first argument.
func wantFile(command string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "" {
			return usageError(fmt.Errorf("%s: want a file", command))
		}
		return nil
	}
}

func completeFileAndSources(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return sourceNames(), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) makeKey(name string) error {
	private, public, err := bundle.NewKey()
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{{name + ".key", private, 0o600}, {name + ".pub", public, 0o644}} {
		f, err := os.OpenFile(file.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, file.mode)
		if err == nil {
			_, err = f.Write(file.content)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fault.New(fault.Invalid, "write key", file.name, cause(err))
		}
	}
	a.note("%s.key signs, and is to be kept secret; %s.pub verifies", name, name)
	return nil
}

// database opens the database in this process, where a command cannot leave its work to a server.
func (a *app) database(ctx context.Context) (*session, error) {
	if a.server != "" {
		return nil, usageError(errors.New("bundles are made and applied where the database is: use --postgres instead of --server"))
	}
	s, err := a.connect(ctx, needStore)
	if err == nil && s.updater == nil {
		return nil, errors.Join(s.close(), fault.Newf(fault.Conflict, "open", a.dataDir,
			"a server runs on it; name its database with --postgres, or stop it"))
	}
	return s, err
}

func (a *app) exportBundle(ctx context.Context, name string, sources []string, keyFile, since string) (err error) {
	if err := updater.CheckNames(sources); err != nil {
		return usageError(err)
	}
	key, err := readKey(keyFile, bundle.ParsePrivateKey)
	if err != nil {
		return err
	}
	manifest := bundle.Manifest{Created: time.Now(), Program: "trawl/" + version}
	var base *bundle.Manifest
	if since != "" {
		var sum bundle.Sum
		if base, sum, err = bundle.ManifestOf(since); err != nil {
			return err
		}
		manifest.Base = &bundle.Base{Created: base.Created, SHA256: sum}
	}
	s, err := a.database(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	into, err := bundle.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, into.Close()) }()
	bars := a.newBars()
	defer bars.stop()
	var done []updater.Exported
	err = s.updater.Export(ctx, into, sources, base, func(e updater.Exported) {
		done = append(done, e)
		bars.set(e.String(), "exported "+titleOf(e.Section), progress.UnitsDefault, e.Lines, e.Lines)
	})
	if err != nil {
		return err
	}
	if _, err := into.Finish(manifest, key); err != nil {
		return err
	}
	bars.stop()
	if key == nil {
		a.note("the bundle is not signed: whoever imports it has to trust how it came; --key signs it")
	}
	return a.printExported(name, done)
}

// titleOf names a section on a bar.
func titleOf(s bundle.Section) string {
	if s.Feed == nil {
		return s.Source + " descriptions"
	}
	return s.Source + " " + path.Base(path.Dir(s.Feed.URL)) + "/" + path.Base(s.Feed.URL)
}

// readKey reads a key of one kind; no file is no key.
func readKey[T any](name string, parse func([]byte) (T, error)) (key T, err error) {
	if name == "" {
		return key, nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return key, usageError(fault.New(fault.Invalid, "read key", name, cause(err)))
	}
	if key, err = parse(content); err != nil {
		return key, usageError(fmt.Errorf("%s: %w", name, err))
	}
	return key, nil
}

func (a *app) importBundle(ctx context.Context, name string, keyFiles []string, unsigned bool, options updater.ImportOptions) (err error) {
	trust := bundle.Trust{Unsigned: unsigned}
	for _, file := range keyFiles {
		key, err := readKey(file, bundle.ParsePublicKey)
		if err != nil {
			return err
		}
		trust.Keys = append(trust.Keys, key)
	}
	switch {
	case len(trust.Keys) > 0 && unsigned:
		return usageError(errors.New("feeds import: --public-key and --insecure-unsigned exclude each other"))
	case len(trust.Keys) == 0 && !unsigned:
		return usageError(errors.New("feeds import: name the key that has to have signed the file with --public-key, or take it whoever made it with --insecure-unsigned"))
	case unsigned: // also with --quiet
		fmt.Fprintf(a.stderr, "WARNING: %s is taken without knowing who made it. Whoever did decides what is reported as vulnerable here.\n", name)
	}
	from, err := bundle.Open(name, trust)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	s, err := a.database(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	bars := a.newBars()
	defer bars.stop()
	options.Progress = func(s bundle.Section, lines int64) {
		bars.set(s.String(), shorten(titleOf(s), messageLength), progress.UnitsDefault, lines, s.Lines)
	}
	done, err := s.updater.Import(ctx, from, options)
	bars.stop()
	if a.isJSON() {
		err = errors.Join(err, printJSON(a.stdout, importedViews(done)))
	} else {
		a.printImported(done)
	}
	for _, i := range done {
		if i.Err != nil && ctx.Err() == nil {
			err = errors.Join(err, i.Err)
		}
	}
	return err
}

// exportedView is the JSON form of what was written of a section.
type exportedView struct {
	Source    string `json:"source"`
	Feed      string `json:"feed"`
	Content   string `json:"content"`
	Unchanged bool   `json:"unchanged"`
	Lines     int64  `json:"lines"`
	Bytes     int64  `json:"bytes"`
}

func (a *app) printExported(name string, done []updater.Exported) error {
	if a.isJSON() {
		out := []exportedView{}
		for _, e := range done {
			out = append(out, exportedView{e.Source, feedOf(e.Section), string(e.Content), e.Unchanged, e.Lines, e.Bytes})
		}
		return printJSON(a.stdout, out)
	}
	t := newTable("Source", "Feeds", "Unchanged", "Records", "Size")
	var row, all updater.Exported
	feeds, unchanged := 0, 0
	for i, e := range done {
		if e.Feed != nil {
			feeds++
		}
		if e.Unchanged {
			unchanged++
		}
		row.Lines, row.Bytes = row.Lines+e.Lines, row.Bytes+e.Bytes
		if i == len(done)-1 || done[i+1].Source != e.Source {
			t.AppendRow(table.Row{e.Source, feeds, unchanged, row.Lines, size(row.Bytes)})
			all.Lines, all.Bytes = all.Lines+row.Lines, all.Bytes+row.Bytes
			row, feeds, unchanged = updater.Exported{}, 0, 0
		}
	}
	t.AppendRow(table.Row{"all", "", "", all.Lines, size(all.Bytes)})
	t.SetColumnConfigs([]table.ColumnConfig{
		{Name: "Feeds", Align: text.AlignRight}, {Name: "Unchanged", Align: text.AlignRight},
		{Name: "Records", Align: text.AlignRight}, {Name: "Size", Align: text.AlignRight},
	})
	fmt.Fprintln(a.stdout, t.Render())
	if info, err := os.Stat(name); err == nil {
		a.note("%s has %s", name, size(info.Size()))
	}
	return nil
}

func feedOf(s bundle.Section) string {
	if s.Feed == nil {
		return ""
	}
	return s.Feed.URL
}

// importedView is the JSON form of what became of a section.
type importedView struct {
	Source    string  `json:"source"`
	Feed      string  `json:"feed"`
	Content   string  `json:"content"`
	Result    string  `json:"result"`
	Records   int     `json:"records"`
	Added     int     `json:"added"`
	Removed   int     `json:"removed"`
	Changed   int     `json:"changed"`
	Findings  int     `json:"findings"`
	Withdrawn int     `json:"withdrawn"`
	Seconds   float64 `json:"seconds"`
	Error     string  `json:"error"`
}

func importedViews(done []updater.Imported) []importedView {
	out := []importedView{}
	for _, i := range done {
		v := importedView{
			Source: i.Source, Feed: feedOf(i.Section), Content: string(i.Content), Result: resultOf(i), Records: i.Delta.Records,
			Added: i.Delta.Added, Removed: i.Delta.Removed, Changed: i.Delta.Changed,
			Findings: i.Delta.Findings, Withdrawn: i.Delta.Withdrawn, Seconds: i.Duration.Seconds(),
		}
		if i.Err != nil {
			v.Error = i.Err.Error()
		}
		out = append(out, v)
	}
	return out
}

func resultOf(i updater.Imported) string {
	switch {
	case i.Err != nil:
		return "refused"
	case i.Unchanged:
		return "unchanged"
	}
	return "applied"
}

func (a *app) printImported(done []updater.Imported) {
	t := newTable("Source", "Applied", "Unchanged", "Refused", "Records", "Ranges +", "−", "±", "Findings +", "−", "Time")
	results := make(map[string]int)
	var row updater.Imported
	for n, i := range done {
		results[resultOf(i)]++
		row.Duration += i.Duration
		row.Delta.Records += i.Delta.Records
		row.Delta.Added += i.Delta.Added
		row.Delta.Removed += i.Delta.Removed
		row.Delta.Changed += i.Delta.Changed
		row.Delta.Findings += i.Delta.Findings
		row.Delta.Withdrawn += i.Delta.Withdrawn
		if n < len(done)-1 && done[n+1].Source == i.Source {
			continue
		}
		d := row.Delta
		t.AppendRow(table.Row{
			i.Source, results["applied"], results["unchanged"], results["refused"], d.Records, d.Added, d.Removed, d.Changed,
			d.Findings, d.Withdrawn, row.Duration.Round(10 * time.Millisecond),
		})
		row = updater.Imported{}
		clear(results)
	}
	fmt.Fprintln(a.stdout, t.Render())
}
