package updater

import (
	"bytes"
	"context"
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/bundle"
	"github.com/trawl-scanner/trawl/updater/epss"
	"github.com/trawl-scanner/trawl/updater/kev"
)

// Exported is what was written of one feed, or of the descriptions of a source.
type Exported struct {
	bundle.Section
	Unchanged bool // since the base, and so left out
}

// Export writes what is known of the sources of these names, all for none, as it is at one moment. What did not change
// since the base is left out; nil means that there is none. The progress, unless nil, is told of each section when it is
// written. An error leaves the writer of no use.
func (u *Updater) Export(ctx context.Context, into *bundle.Writer, names []string, base *bundle.Manifest, progress func(Exported)) error {
	chosen := make(map[string]bool)
	for _, name := range names {
		chosen[name] = true
	}
	if _, err := find(names); err != nil {
		return fault.New(fault.Invalid, "choose sources", "", err)
	}
	if progress == nil {
		progress = func(Exported) {}
	}
	return u.config.Store.Snapshot(ctx, func(from *store.Snapshot) error {
		feeds, err := from.Feeds(ctx)
		if err != nil {
			return err
		}
		e := &export{from: from, into: into, known: feedsOf(base), told: progress}
		for i, f := range feeds {
			if len(names) > 0 && !chosen[f.Source] {
				continue
			}
			if err := e.feed(ctx, f); err != nil {
				return err
			}
			if i == len(feeds)-1 || feeds[i+1].Source != f.Source {
				if err := e.descriptions(ctx, f.Source); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// feedsOf returns the feeds of a manifest by URL.
func feedsOf(m *bundle.Manifest) map[string]bundle.Feed {
	feeds := make(map[string]bundle.Feed)
	if m != nil {
		for _, s := range m.Sections {
			if s.Feed != nil {
				feeds[s.Feed.URL] = *s.Feed
			}
		}
	}
	return feeds
}

// export is one export under way.
type export struct {
	from    *store.Snapshot
	into    *bundle.Writer
	known   map[string]bundle.Feed // in the base
	told    func(Exported)
	written bool // a feed of the source
}

func (e *export) feed(ctx context.Context, f store.SnapshotFeed) error {
	s := bundle.Section{Content: contentOf(f.URL), Source: f.Source, Feed: &bundle.Feed{
		URL: f.URL, Version: versionOf(f.Feed), SizeBytes: f.SizeBytes, Checked: f.Checked, Changed: f.Changed,
		Records: f.Records, Ranges: f.Ranges, Bad: f.Bad, BadRecords: f.BadNamed, Namespaces: f.Schemes,
		Held: f.State == store.FeedHeld, Error: f.Error,
	}}
	before, ok := e.known[f.URL]
	if ok && before.Changed.Equal(f.Changed) && bytes.Equal(before.Version.Checksum, f.Checksum) {
		e.into.Unchanged(s, before.Version)
		e.told(Exported{Section: s, Unchanged: true})
		return nil
	}
	var err error
	switch s.Content {
	case bundle.KnownExploited:
		s, err = e.into.Exploitations(s, e.from.KnownExploited(ctx))
	case bundle.Scores:
		s, err = e.into.Exploitations(s, e.from.Scores(ctx))
	default:
		s, err = e.into.Records(s, e.from.Ranges(ctx, f.URL))
	}
	if err != nil {
		return err
	}
	e.written = true
	e.told(Exported{Section: s})
	return nil
}

// descriptions writes what a source tells beside ranges, if one of its feeds changed: it comes from these alone.
func (e *export) descriptions(ctx context.Context, source string) error {
	if !e.written {
		return nil
	}
	e.written = false
	s, err := e.into.Records(bundle.Section{Content: bundle.Descriptions, Source: source}, e.from.Descriptions(ctx, source))
	if err != nil {
		return err
	}
	e.told(Exported{Section: s})
	return nil
}

// contentOf returns what a feed tells of.
func contentOf(url string) bundle.Content {
	switch url {
	case kev.Address:
		return bundle.KnownExploited
	case epss.Address:
		return bundle.Scores
	}
	return bundle.Ranges
}

func versionOf(f store.Feed) bundle.Version {
	return bundle.Version{Checksum: f.Checksum, Cursor: f.Cursor}
}

// same reports whether two versions of a feed say the same.
func same(a, b bundle.Version) bool {
	return a.Cursor == b.Cursor && bytes.Equal(a.Checksum, b.Checksum)
}

// describeVersion is a version for an error.
func describeVersion(v bundle.Version) string {
	if len(v.Checksum) > 0 {
		return fmt.Sprintf("sha256 %.12x… %s", []byte(v.Checksum), v.Cursor)
	}
	return v.Cursor
}
