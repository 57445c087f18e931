package updater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/bundle"
)

// ErrOlder is wrapped by the error of a feed of a bundle that is older than what is known already.
var ErrOlder = errors.New("older than what is known")

// ErrOtherBase is wrapped by the error of a feed that a bundle leaves out, where what is known is not what the bundle
// stands on.
var ErrOtherBase = errors.New("the bundle stands on another one, which has to be imported first")

// ImportOptions says how a bundle is applied.
type ImportOptions struct {
	// Force applies feeds that are older than what is known.
	Force bool
	// AcceptShrink applies feeds however much smaller they are than before.
	AcceptShrink bool
	// Progress is told of each section how many of its lines were read.
	Progress func(s bundle.Section, lines int64)
}

// Imported is what became of one section of a bundle.
type Imported struct {
	bundle.Section
	Delta     store.Delta
	Unchanged bool // what is known says the same
	Duration  time.Duration
	Err       error // nothing of the section was applied
}

// Import applies a bundle as a run of its sources would: each feed in one transaction, with its effect on the findings and
// the changes that are recorded; what looks wrong is held back. A feed that is not taken does not stop the others. What
// was applied before is left as it is, so an import that was broken off is repeated.
//
// All of the bundle is verified before anything is applied. It returns what became of each section, and an error when
// it could not begin or was stopped.
func (u *Updater) Import(ctx context.Context, from *bundle.Reader, options ImportOptions) ([]Imported, error) {
	if options.Progress == nil {
		options.Progress = func(bundle.Section, int64) {}
	}
	if err := from.Verify(nil); err != nil {
		return nil, err
	}
	if err := u.register(ctx, u.sourcesWith(from.Manifest())); err != nil {
		return nil, err
	}
	run := &importing{u: u, from: from, options: options}
	defer run.leave(ctx)
	for {
		s, err := from.Next()
		if errors.Is(err, io.EOF) {
			return run.out, nil
		}
		if err != nil {
			return run.out, err
		}
		started := time.Now()
		out := run.section(ctx, s)
		out.Section, out.Duration = s, time.Since(started)
		run.out = append(run.out, out)
		if ctx.Err() != nil {
			return run.out, fault.Wrap("import", s.String(), context.Cause(ctx))
		}
	}
}

// sourcesWith returns the updater's sources and those that a bundle is about, as far as they are known here: some are
// read on demand only.
func (u *Updater) sourcesWith(m *bundle.Manifest) []source {
	out := slices.Clone(u.sources)
	for _, section := range m.Sections {
		named := func(s source) bool { return s.Name == section.Source }
		if i := slices.IndexFunc(sources, named); i >= 0 && !slices.ContainsFunc(out, named) {
			out = append(out, sources[i])
		}
	}
	return out
}

// importing is one import under way.
type importing struct {
	u       *Updater
	from    *bundle.Reader
	options ImportOptions
	out     []Imported

	source string // whose lock is held
	locked context.Context
	unlock func()
	known  map[string]store.Feed
	fault  error   // of the source as a whole
	failed []error // of its feeds
	taken  bool    // one of its feeds
}

// enter takes the lock of a source, and gives back that of the one before.
func (i *importing) enter(ctx context.Context, source string) {
	if i.source == source {
		return
	}
	i.leave(ctx)
	i.source, i.failed, i.known, i.taken = source, nil, nil, false
	if _, i.fault = find([]string{source}); i.fault != nil {
		i.fault = fault.New(fault.Unsupported, "import", source, i.fault)
		return
	}
	if i.locked, i.unlock, i.fault = i.u.config.Lock(ctx, source); i.fault != nil {
		i.unlock = nil
		return
	}
	i.known, i.fault = i.u.config.Store.Feeds(i.locked, source)
}

// leave gives back the lock and notes how it went. That a feed is older than what is known is no fault of the source.
func (i *importing) leave(ctx context.Context) {
	if i.unlock == nil {
		return
	}
	refused := func(err error) bool { return errors.Is(err, ErrOlder) || errors.Is(err, ErrOtherBase) }
	if failed := slices.DeleteFunc(i.failed, refused); i.taken || len(failed) > 0 {
		noted, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := i.u.config.Store.EndRun(noted, i.source, time.Time{}, errors.Join(failed...)); err != nil {
			i.u.log.Warn("cannot note how the import went", "source", i.source, "error", err)
		}
	}
	i.unlock()
	i.unlock = nil
}

// section applies a section.
func (i *importing) section(ctx context.Context, s bundle.Section) (out Imported) {
	i.enter(ctx, s.Source)
	if i.fault != nil {
		return Imported{Err: i.fault}
	}
	if s.Content == bundle.Descriptions {
		if len(i.failed) > 0 {
			return Imported{Err: fmt.Errorf("%s: left out, for a feed of the source was not taken", s)}
		}
		n, err := i.u.config.Store.ApplyDescriptions(i.locked, s.Source, counted(i, s, i.from.Records()))
		return Imported{Delta: store.Delta{Records: n}, Err: err}
	}
	out.Delta, out.Unchanged, out.Err = i.feed(s)
	if out.Err == nil {
		i.taken = true
		out.Err = i.noteFailure(s)
		return out
	}
	i.failed = append(i.failed, out.Err)
	if errors.Is(out.Err, store.ErrHeldBack) {
		out.Err = errors.Join(out.Err, i.u.config.Store.FeedFailed(context.WithoutCancel(ctx), s.Source, s.Feed.URL, out.Err))
	}
	return out
}

// feed applies a feed, or does not where what is known is the same or newer.
func (i *importing) feed(s bundle.Section) (delta store.Delta, unchanged bool, err error) {
	f, known := *s.Feed, i.known[s.Feed.URL]
	here := versionOf(known)
	read := !known.Changed.IsZero()
	// The database keeps microseconds.
	if read && known.Checked.After(f.Checked.Add(time.Microsecond)) && !same(here, f.Version) && !i.options.Force {
		return delta, false, fault.Newf(fault.Conflict, "import", f.URL, "%w: it is of %s, what is known of %s; --force applies it all the same",
			ErrOlder, f.Checked.UTC().Format(time.RFC3339), known.Checked.Format(time.RFC3339))
	}
	if read && same(here, f.Version) && known.State != store.FeedHeld {
		return delta, true, i.u.config.Store.FeedKnown(i.locked, f.URL, f.Version.Cursor, f.Checked)
	}
	if s.File == "" {
		if !read || !same(here, *s.Base) {
			return delta, false, fault.Newf(fault.Conflict, "import", f.URL, "%w: it wants %s", ErrOtherBase, describeVersion(*s.Base))
		}
		return delta, true, i.u.config.Store.FeedKnown(i.locked, f.URL, f.Version.Cursor, f.Checked)
	}
	delta, err = i.apply(s)
	return delta, delta.Unchanged, fault.Wrap("import", f.URL, err)
}

func (i *importing) apply(s bundle.Section) (store.Delta, error) {
	f := *s.Feed
	origin := &store.Origin{Checked: f.Checked, Records: f.Records, Bad: f.Bad, BadNamed: f.BadRecords}
	if s.Content == bundle.Ranges {
		return i.u.config.Store.ApplyFeed(i.locked, store.FeedContent{
			Source: s.Source, URL: f.URL, Checksum: f.Version.Checksum, SizeBytes: f.SizeBytes, Cursor: f.Version.Cursor,
			Namespaces: f.Namespaces, Records: counted(i, s, i.from.Records()), AcceptShrink: i.options.AcceptShrink, Origin: origin,
		})
	}
	return i.u.config.Store.ApplyExploitation(i.locked, store.ExploitationContent{
		Source: s.Source, URL: f.URL, Checksum: f.Version.Checksum, SizeBytes: f.SizeBytes, Cursor: f.Version.Cursor,
		Records: counted(i, s, i.from.Exploitations()), Origin: origin,
	})
}

// noteFailure notes of a feed that was taken that whoever made the bundle could not read what came after it.
func (i *importing) noteFailure(s bundle.Section) error {
	if s.Feed.Error == "" {
		return nil
	}
	cause := fmt.Errorf("where the bundle was made: %s", s.Feed.Error)
	if s.Feed.Held {
		cause = fmt.Errorf("%w, %w", store.ErrHeldBack, cause)
	}
	return i.u.config.Store.FeedFailed(i.locked, s.Source, s.Feed.URL, cause)
}

// progressLines is after how many lines the progress is told.
const progressLines = 1000

// counted tells the progress of the items of a section.
func counted[T any](i *importing, s bundle.Section, items func(yield func(T, error) bool)) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		n := int64(0)
		for item, err := range items {
			if n++; n%progressLines == 0 {
				i.options.Progress(s, n)
			}
			if !yield(item, err) {
				return
			}
		}
		i.options.Progress(s, n)
	}
}
