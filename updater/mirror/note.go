package mirror

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// note is what is known of a document that was fetched.
type note struct {
	From      string    `json:"from"`      // the mirror that it came from; "" is upstream
	Validator string    `json:"validator"` // for the next conditional request
	Suffix    string    `json:"suffix"`    // behind its name; see [fetch.Suffixes]
	Checksum  []byte    `json:"sha256"`
	SizeBytes int64     `json:"sizeBytes"`
	Modified  time.Time `json:"modified"` // of the file; with the size it tells whether the note is about it
	Feed      string    `json:"feed"`     // that it was read for
	Seen      time.Time `json:"seen"`     // when the feed named it last
}

// version stands for the content, wherever it lies.
func (n note) version() string { return "sha256 " + hex.EncodeToString(n.Checksum) }

// Walk is how far a feed was read that is read by steps: the cursor behind the first step, and behind the last.
type Walk struct {
	First string `json:"first"`
	Last  string `json:"last"`
}

func (d *Dir) spoolDir() string { return filepath.Join(own, "spool") }

// staged is the file of a document that is not yet in place.
func (d *Dir) staged(place string) string {
	return filepath.Join(d.root, own, "staged", filepath.FromSlash(place))
}

func (d *Dir) noteFile(folder, place string) string {
	return filepath.Join(d.root, own, folder, filepath.FromSlash(place)+".json")
}

// known returns the note of a document and the file that it is about, staged or in place; none where there is no such
// file.
func (d *Dir) known(place string) (n note, file string) {
	if err := readJSON(d.noteFile("notes", place), &n); err != nil {
		return note{}, ""
	}
	for _, file := range []string{d.staged(place + n.Suffix), filepath.Join(d.root, filepath.FromSlash(place+n.Suffix))} {
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && info.Size() == n.SizeBytes && info.ModTime().Equal(n.Modified) {
			return n, file
		}
	}
	return note{}, ""
}

func (d *Dir) writeNote(place string, n note) error {
	return fault.Wrap("note", place, d.writeJSON(d.noteFile("notes", place), n))
}

// Walked returns how far the feed was read when [Dir.NoteWalk] was last called for it; the zero value for never.
func (d *Dir) Walked() (w Walk) {
	place, err := fetch.Place(d.feed)
	if err == nil {
		_ = readJSON(d.noteFile("walks", place), &w) // what cannot be read says nothing
	}
	return w
}

// NoteWalk notes how far the feed was read, all of which is published.
func (d *Dir) NoteWalk(w Walk) error {
	place, err := fetch.Place(d.feed)
	if err != nil {
		return err
	}
	return fault.Wrap("note", place, d.writeJSON(d.noteFile("walks", place), w))
}

// Prune removes the documents that were read for the feed and that it has not named since a moment.
func (d *Dir) Prune(before time.Time) error {
	notes := filepath.Join(d.root, own, "notes")
	err := filepath.WalkDir(notes, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		var n note
		if err := readJSON(name, &n); err != nil || n.Feed != d.feed || !n.Seen.Before(before) {
			return nil //nolint:nilerr // a note that cannot be read is void
		}
		place, err := filepath.Rel(notes, strings.TrimSuffix(name, ".json"))
		if err != nil {
			return err
		}
		_, file := d.known(filepath.ToSlash(place))
		if file != "" {
			if err := os.Remove(file); err != nil {
				return err
			}
			d.stats.Removed++
		}
		return os.Remove(name)
	})
	return fault.Wrap("prune", d.feed, err)
}

// takeLock makes this process the only one that fills the mirror.
func (d *Dir) takeLock() error {
	file, err := os.OpenFile(filepath.Join(d.root, own, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fault.Newf(fault.Conflict, "lock", file.Name(), "another process fills the mirror")
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	d.lock = file
	return nil
}

// tidy removes what a run that was killed left of no use: what was under way, and documents without a note.
func (d *Dir) tidy() error {
	spool := filepath.Join(d.root, d.spoolDir())
	left, err := os.ReadDir(spool)
	if err != nil {
		return err
	}
	for _, entry := range left {
		if err := os.Remove(filepath.Join(spool, entry.Name())); err != nil {
			return err
		}
	}
	staged := d.staged("")
	err = filepath.WalkDir(staged, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		place, err := filepath.Rel(staged, name)
		if err != nil {
			return err
		}
		for _, suffix := range fetch.Suffixes {
			bare, ok := strings.CutSuffix(filepath.ToSlash(place), suffix)
			if _, file := d.known(bare); ok && file == name {
				return nil
			}
		}
		return os.Remove(name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func readJSON(name string, v any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// writeJSON writes a file at once: whatever ends this process, it is the old one or the new one.
func (d *Dir) writeJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Join(d.root, d.spoolDir()), "note-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	return err
}
