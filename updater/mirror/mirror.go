// Package mirror fills a directory with the documents of advisory sources, in the layout that package fetch reads.
//
// It does not know which documents there are: whoever reads a source through a [Dir], as it would through a
// [fetch.Fetcher], leaves in the directory what it has read.
//
// # Order
//
// A document that names others, such as the list of what changed, is read before these. So what was read is put in place
// in reverse order, and only when all of it is there ([Dir.Publish]): whoever reads the mirror meanwhile finds an older
// list or the newer one, and always what it names. Each document is put in place by a rename.
//
// # What is kept beside the documents
//
// All in the folder .trawl-mirror, which no reader of a mirror asks for: a lock; documents under way; documents that are
// fetched and not yet in place, so that a run that was killed goes on where it was; and for each document a note, a JSON
// object, that tells what to say in a conditional request. A note that does not fit the file is void, and so is one that
// cannot be read: the document is fetched again. Members may be added to notes.
package mirror

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// own is the folder below the root with what is no document.
const own = ".trawl-mirror"

// Dir is a mirror being filled. It is for one goroutine at a time, and for one process: [Open] takes its lock.
type Dir struct {
	root string
	from string // where the documents come from: a mirror, or "" for upstream
	get  *fetch.Fetcher
	lock *os.File

	feed  string            // that is being read; see [Dir.Begin]
	began time.Time         // when
	read  []string          // the places of the documents of the feed, in the order in which they were first read
	files map[string]string // by place: the file that holds the document now
	stats Stats
}

// Stats is what was done for a feed.
type Stats struct {
	Documents int      // that it consists of
	Fetched   int      // of them, because they changed or were not there
	Bytes     int64    // fetched, as transferred
	Removed   int      // documents that nothing names any more
	Gone      []string // addresses that upstream no longer has, and the mirror keeps
}

// Open opens the mirror in a directory, which is made if missing. The config says where the documents come from; its
// SpoolDir is not used. Where another process fills the mirror, the error is a fault of kind Conflict. The caller closes it.
func Open(root string, config fetch.Config) (*Dir, error) {
	d := &Dir{root: root, from: config.Mirror}
	for _, folder := range []string{"", d.spoolDir()} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return nil, fault.New(fault.Invalid, "open mirror", root, err)
		}
	}
	if err := d.takeLock(); err != nil {
		return nil, fault.Wrap("open mirror", root, err)
	}
	config.SpoolDir = filepath.Join(root, d.spoolDir())
	d.get = fetch.New(config)
	if err := d.tidy(); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "open mirror", root, err), d.Close())
	}
	return d, nil
}

// Close gives back the lock.
func (d *Dir) Close() error { return d.lock.Close() }

// Begin begins with another feed: it forgets what was read and not published, without removing it.
func (d *Dir) Begin(feed string) {
	d.feed, d.began = feed, time.Now().UTC()
	d.read, d.files, d.stats = nil, make(map[string]string), Stats{}
}

// Stats returns what was done since [Dir.Begin].
func (d *Dir) Stats() Stats {
	d.stats.Documents = len(d.read)
	return d.stats
}

// Get returns a document as [fetch.Fetcher.Get] does, and keeps it for [Dir.Publish]. It is transferred only if it is not
// what was read last time. The validator is one of a document that a Dir returned.
func (d *Dir) Get(ctx context.Context, address, validator string, progress func(read, total int64)) (*fetch.Document, error) {
	place, err := fetch.Place(address)
	if err != nil {
		return nil, err
	}
	n, file := d.known(place)
	if n.From != d.from {
		n.Validator = "" // it is of another server
	}
	document, err := d.get.Get(ctx, address, n.Validator, progress)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound && file != "" {
			d.stats.Gone = append(d.stats.Gone, address)
		}
		return nil, err
	}
	if document.Unchanged {
		n.Validator = document.Validator
	} else {
		if n, file, err = d.stage(place, document); err != nil {
			return nil, errors.Join(err, document.Close())
		}
		d.stats.Fetched++
		d.stats.Bytes += n.SizeBytes
	}
	n.From, n.Feed, n.Seen = d.from, d.feed, d.began
	if err := d.writeNote(place, n); err != nil {
		return nil, err
	}
	if _, again := d.files[place]; !again {
		d.read = append(d.read, place)
	}
	d.files[place] = file
	local := d.get.Local(address, file, n.version(), n.Checksum, n.SizeBytes)
	local.Unchanged = validator == local.Validator
	return local, nil
}

// Exists reports whether upstream has the document.
func (d *Dir) Exists(ctx context.Context, address string) (bool, error) {
	ok, err := d.get.Exists(ctx, address)
	if err != nil || ok {
		return ok, err
	}
	place, err := fetch.Place(address)
	if err != nil {
		return false, err
	}
	if _, file := d.known(place); file != "" {
		d.stats.Gone = append(d.stats.Gone, address)
	}
	return false, nil
}

// stage keeps a document until it is put in place.
func (d *Dir) stage(place string, document *fetch.Document) (note, string, error) {
	file := d.staged(place + document.Suffix)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return note{}, "", fault.New(fault.Unavailable, "keep", document.URL, err)
	}
	n := note{Validator: document.Validator, Suffix: document.Suffix, Checksum: document.Checksum, SizeBytes: document.SizeBytes}
	if err := document.MoveTo(file); err != nil {
		return note{}, "", err
	}
	info, err := os.Stat(file)
	if err != nil {
		return note{}, "", fault.New(fault.Unavailable, "keep", document.URL, err)
	}
	n.Modified = info.ModTime().UTC()
	return n, file, nil
}

// Publish puts in place what was read since [Dir.Begin], the last first.
func (d *Dir) Publish() error {
	for i := len(d.read) - 1; i >= 0; i-- {
		place := d.read[i]
		n, file := d.known(place)
		if file == "" {
			return fault.Newf(fault.Conflict, "publish", place, "somebody removed the document")
		}
		if err := d.publish(place, n.Suffix, file); err != nil {
			return fault.New(fault.Unavailable, "publish", place, err)
		}
	}
	return nil
}

func (d *Dir) publish(place, suffix, file string) error {
	to := filepath.Join(d.root, filepath.FromSlash(place+suffix))
	if file != to {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.Rename(file, to); err != nil {
			return err
		}
	}
	// A reader would find what the mirror had in another form.
	for _, other := range fetch.Suffixes {
		if other == suffix {
			continue
		}
		err := os.Remove(filepath.Join(d.root, filepath.FromSlash(place+other)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
