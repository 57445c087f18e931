package updater

import (
	"context"
	"errors"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/mirror"
)

// MirrorOptions says how a mirror is filled.
type MirrorOptions struct {
	// Keep is how long documents stay that a source no longer names: a site that reads the mirror may be behind by as
	// much. Zero means 31 days, after which such a site would read everything anew.
	Keep time.Duration
	// Progress is told how far the document under way is, in bytes; total is -1 where it is not known.
	Progress func(source, url string, read, total int64)
}

const keepUnnamed = 31 * 24 * time.Hour

// Mirrored is how the mirroring of a source went.
type Mirrored struct {
	Source string
	mirror.Stats
	Duration time.Duration
	Err      error // of all documents that could not be mirrored
}

// Mirror brings the documents of the sources of these names, all for none, in a mirror to what upstream has. A document
// is there after it if and only if an updater that has read nothing yet would ask for it, or one that is behind. A
// source that fails does not stop the others, nor does a document of a source. It returns an outcome for each source,
// and an error when it could not begin or was stopped.
func Mirror(ctx context.Context, into *mirror.Dir, names []string, options MirrorOptions) ([]Mirrored, error) {
	chosen, err := find(names)
	if err != nil {
		return nil, fault.New(fault.Invalid, "choose sources", "", err)
	}
	if options.Keep == 0 {
		options.Keep = keepUnnamed
	}
	var out []Mirrored
	for _, s := range chosen {
		out = append(out, mirrorSource(ctx, into, s, options))
		if ctx.Err() != nil {
			return out, fault.Wrap("mirror", s.Name, context.Cause(ctx))
		}
	}
	return out, nil
}

// mirrorSource goes through the documents of a source; one that fails does not stop the others.
func mirrorSource(ctx context.Context, into *mirror.Dir, s source, options MirrorOptions) Mirrored {
	started := time.Now()
	out := Mirrored{Source: s.Name}
	into.Begin(s.URL)
	feeds, err := s.feeds(ctx, into.Exists)
	out.Gone = into.Stats().Gone
	failed := []error{err}
	for _, f := range feeds {
		if ctx.Err() != nil {
			break
		}
		into.Begin(f.url)
		progress := Options{Progress: options.Progress}.progress(s, f.url)
		var err error
		if f.next != nil {
			err = mirrorSteps(ctx, into, f, options.Keep, progress)
		} else {
			err = mirrorDocument(ctx, into, f.url, progress)
		}
		stats := into.Stats()
		out.Documents += stats.Documents
		out.Fetched += stats.Fetched
		out.Bytes += stats.Bytes
		out.Removed += stats.Removed
		out.Gone = append(out.Gone, stats.Gone...)
		if err == nil || (f.optional && len(stats.Gone) == 0 && fault.KindOf(err) == fault.NotFound) {
			continue
		}
		failed = append(failed, err)
	}
	out.Err = errors.Join(failed...)
	out.Duration = time.Since(started)
	return out
}

func mirrorDocument(ctx context.Context, into *mirror.Dir, url string, progress func(read, total int64)) error {
	document, err := into.Get(ctx, url, "", progress)
	if err != nil {
		return err
	}
	return errors.Join(document.Close(), into.Publish())
}

// mirrorSteps takes the steps of somebody who has read nothing. Where the first of them is as it was last time, the ones
// that were taken then are left out: all that they read is in place.
func mirrorSteps(ctx context.Context, into *mirror.Dir, f feed, keep time.Duration, progress func(read, total int64)) error {
	before := into.Walked()
	var walk mirror.Walk
	for more := true; more && ctx.Err() == nil; {
		next, err := f.next(ctx, into, walk.Last, progress)
		if err != nil {
			return err
		}
		if more, err = next.more, errors.Join(getAll(next), next.close()); err != nil {
			return err
		}
		walk.Last = next.cursor
		if walk.First == "" {
			walk.First = next.cursor
			if walk.First == before.First {
				walk.Last = before.Last
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := into.Publish(); err != nil {
		return err
	}
	if before.First != "" && before.First != walk.First {
		if err := into.Prune(time.Now().Add(-keep)); err != nil {
			return err
		}
	}
	return into.NoteWalk(walk)
}

// getAll has a step get all its documents. What is in them is for their readers to judge.
func getAll(s *step) error {
	if s.records == nil || !s.fetches {
		return nil
	}
	for _, err := range s.records {
		var bad *advisory.BadRecord
		if err != nil && !errors.As(err, &bad) {
			return err
		}
	}
	return nil
}
