package redhat

import (
	"context"
	"errors"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// lists are the changes and deletions after some moment.
type lists struct {
	validator string // of changes.csv
	changes   []change
	bad       []advisory.BadRecord
	paths     map[string]bool // of the changes; made when first asked for
}

// has reports whether the document changed or went.
func (l *lists) has(path string) bool {
	if l.paths == nil {
		l.paths = make(map[string]bool, len(l.changes))
		for _, c := range l.changes {
			l.paths[c.path] = true
		}
	}
	return l.paths[path]
}

// readLists returns what changed after a moment, or nil when the list of changes still is what validator stands for:
// a deletion is a change of that list too. deletions.csv may be missing, there having been none.
func readLists(ctx context.Context, g Getter, validator string, after time.Time, progress func(read, total int64)) (*lists, error) {
	const changes, deletions = "changes.csv", "deletions.csv"
	document, err := g.Get(ctx, Address+changes, validator, progress)
	if err != nil {
		return nil, err
	}
	if document.Unchanged {
		return nil, document.Close()
	}
	out := &lists{validator: document.Validator}
	content, err := document.Open(nil)
	if err != nil {
		return nil, errors.Join(err, document.Close())
	}
	out.changes, out.bad, err = parseChanges(content, changes, false, after)
	if err = errors.Join(err, content.Close(), document.Close()); err != nil {
		return nil, err
	}
	gone, done, err := open(ctx, g, Address+deletions)
	if fault.KindOf(err) == fault.NotFound {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	deleted, bad, err := parseChanges(gone, deletions, true, after)
	out.changes, out.bad = append(out.changes, deleted...), append(out.bad, bad...)
	return out, errors.Join(err, done())
}
