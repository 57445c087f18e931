package redhat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// A Getter gets documents as [fetch.Fetcher.Get] does.
type Getter interface {
	Get(ctx context.Context, address, validator string, progress func(read, total int64)) (*fetch.Document, error)
}

// Step is a piece of work that brings what is stored nearer to what Red Hat publishes. The caller applies the records
// and stores the state in one transaction, closes the step, and asks for the next one with that state.
type Step struct {
	// Records are to be applied; nil for none. They are read once, while documents are fetched.
	Records advisory.Records
	// Whole says that the records are all there is: what they do not name is withdrawn. Otherwise each record replaces
	// what was said about its advisory, one without ranges withdrawing it, and all others stay.
	Whole bool
	// State is to be stored with the records, and passed to the next [Next].
	State string
	// More says that there is more to do at once.
	More bool

	document *fetch.Document
	content  io.Closer
}

// Close gives back what reading the records needed.
func (s *Step) Close() error {
	var errs []error
	if s.content != nil {
		errs = append(errs, s.content.Close())
	}
	if s.document != nil {
		errs = append(errs, s.document.Close())
	}
	return errors.Join(errs...)
}

const (
	// batchSize is how many changed documents a step takes. They are fetched one after the other, about ten
	// a second, so a step takes two minutes; what failed is repeated by steps.
	batchSize = 1000
	// bulk is the number of changes from which on a newer archive is less work than the documents: Red Hat now and
	// then makes all of them anew.
	bulk = 20_000
	// resync is after how long the archive is read again although the changes are known, for what they did not tell.
	resync = 30 * 24 * time.Hour
	// slack is how long before its day an archive may have been made.
	slack = 24 * time.Hour
)

// Next returns the next step for somebody whose last step had the given state; "" for nobody's. Without a state, the
// archive is read; then the documents that changed since, a batch at a time. When nothing changed, that costs two
// small requests, of which one is conditional; the step then has no records.
//
// The archive is read again when the state is of another version of this program, when it is older than a
// month, or when there are too many changes. Documents that changed after such an archive was made are left out of
// it, so that nothing falls back; they are read as changes.
//
// The progress, unless nil, is of the larger documents. Errors are those of g, and of kind Corrupt for what cannot
// be read; the state has not moved then.
func Next(ctx context.Context, g Getter, stored string, census *Census, progress func(read, total int64)) (*Step, error) {
	s, known := parseState(stored)
	latest, day, err := latestArchive(ctx, g)
	if err != nil {
		return nil, err
	}
	if s.Archive == "" {
		return archiveStep(ctx, g, latest, day, nil, census, progress)
	}
	before, _ := archiveDay(s.Archive)
	if !known || day.Sub(before) >= resync {
		return archiveAgain(ctx, g, latest, day, census, progress)
	}
	lists, err := readLists(ctx, g, s.Changes, s.Cursor, progress)
	switch {
	case err != nil:
		return nil, err
	case lists == nil:
		return &Step{State: s.String()}, nil
	case len(lists.changes) > bulk && latest != s.Archive:
		return archiveAgain(ctx, g, latest, day, census, progress)
	}
	return changesStep(ctx, g, s, lists, census), nil
}

// archiveAgain reads an archive for somebody who knows its documents or newer ones.
func archiveAgain(ctx context.Context, g Getter, file string, day time.Time, census *Census, progress func(read, total int64)) (*Step, error) {
	lists, err := readLists(ctx, g, "", day.Add(-slack), progress)
	if err != nil {
		return nil, err
	}
	return archiveStep(ctx, g, file, day, lists, census, progress)
}

// archiveStep reads an archive: whole, or without the documents that changed since it was made.
func archiveStep(ctx context.Context, g Getter, file string, day time.Time, changed *lists, census *Census, progress func(read, total int64)) (*Step, error) {
	document, err := g.Get(ctx, Address+file, "", progress)
	if err != nil {
		return nil, err
	}
	content, err := document.Open(progress)
	if err != nil {
		return nil, errors.Join(err, document.Close())
	}
	step := &Step{
		Whole: changed == nil, More: true, document: document, content: content,
		State: state{Archive: file, Cursor: day.Add(-slack)}.String(),
	}
	var skip func(string) bool
	if changed != nil {
		skip = changed.has
	}
	step.Records = archive(content, census, skip)
	return step, nil
}

// changesStep reads the documents that changed, as many as a step takes.
func changesStep(ctx context.Context, g Getter, s state, l *lists, census *Census) *Step {
	next, until, all := batch(l.changes, batchSize)
	if s.Changes = ""; all {
		s.Changes = l.validator
	}
	if len(next) > 0 {
		s.Cursor = until
	}
	step := &Step{State: s.String(), More: !all}
	if len(next)+len(l.bad) > 0 {
		step.Records = changedDocuments(ctx, g, next, l.bad, census)
	}
	return step
}

// changedDocuments fetches documents and reads them. One that is not there is a bad record: what was known of it
// stays. One that cannot be fetched ends the records.
func changedDocuments(ctx context.Context, g Getter, changes []change, bad []advisory.BadRecord, census *Census) advisory.Records {
	if census == nil {
		census = new(Census)
	}
	return func(yield func(advisory.Record, error) bool) {
		for _, b := range bad {
			if !yield(advisory.Record{}, &b) {
				return
			}
		}
		for _, c := range changes {
			if c.gone {
				if !yield(advisory.Record{ID: documentID(c.path), Modified: c.at}, nil) {
					return
				}
				continue
			}
			if more := changedDocument(ctx, g, c, census, yield); !more {
				return
			}
		}
	}
}

func changedDocument(ctx context.Context, g Getter, c change, census *Census, yield func(advisory.Record, error) bool) bool {
	content, done, err := open(ctx, g, Address+c.path)
	if fault.KindOf(err) == fault.NotFound {
		return yield(advisory.Record{}, &advisory.BadRecord{
			Subject: c.path, Reason: "listed as changed, and not there", ID: documentID(c.path),
		})
	}
	if err != nil {
		yield(advisory.Record{}, err)
		return false
	}
	more := readDocument(content, c.path, census, yield)
	if err := done(); err != nil && more {
		yield(advisory.Record{}, err)
		return false
	}
	return more
}

// open gets a document and opens it. The caller calls done.
func open(ctx context.Context, g Getter, address string) (content io.Reader, done func() error, err error) {
	document, err := g.Get(ctx, address, "", nil)
	if err != nil {
		return nil, nil, err
	}
	opened, err := document.Open(nil)
	if err != nil {
		return nil, nil, errors.Join(err, document.Close())
	}
	return opened, func() error { return errors.Join(opened.Close(), document.Close()) }, nil
}

// maxNameBytes bounds archive_latest.txt.
const maxNameBytes = 1 << 10

// latestArchive returns the file name of the newest archive, and the day it is of.
func latestArchive(ctx context.Context, g Getter) (file string, day time.Time, err error) {
	const address = Address + "archive_latest.txt"
	content, done, err := open(ctx, g, address)
	if err != nil {
		return "", time.Time{}, err
	}
	text, err := io.ReadAll(io.LimitReader(content, maxNameBytes+1))
	err = errors.Join(err, limits.Check("size of the document", "bytes", maxNameBytes, int64(len(text))), done())
	if err != nil {
		return "", time.Time{}, fault.Wrap("read", address, err)
	}
	file = strings.TrimSpace(string(text))
	day, ok := archiveDay(file)
	if !ok {
		return "", time.Time{}, fault.New(fault.Corrupt, "read", address, fmt.Errorf("%.80q does not name an archive", file))
	}
	return file, day, nil
}
