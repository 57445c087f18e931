package fetch

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Document is a document at hand.
type Document struct {
	URL       string
	Validator string // to pass to the next [Fetcher.Get]
	Checksum  []byte // sha256 of the bytes as transferred
	SizeBytes int64  // as transferred
	// Suffix is what stands behind the name in the mirror that it comes from: one of [Suffixes].
	Suffix string
	// Unchanged says that upstream has what the validator stood for; then there is nothing to open.
	Unchanged bool

	name        string
	spool       bool
	maxInflated int64 // zero means no limit
}

// Local returns a document that lies in a file of this machine, which Close leaves alone.
func (f *Fetcher) Local(address, name, validator string, checksum []byte, sizeBytes int64) *Document {
	return &Document{
		URL: address, Validator: validator, Checksum: checksum, SizeBytes: sizeBytes,
		name: name, maxInflated: f.config.MaxInflatedBytes,
	}
}

// Path returns the file that holds the document as transferred, until Close.
func (d *Document) Path() string { return d.name }

// Close removes what was kept to read the document.
func (d *Document) Close() error {
	if d.spool {
		return os.Remove(d.name)
	}
	return nil
}

// MoveTo puts the document, as transferred, into a file, in place of the one that may be there, at once: whatever ends
// this process, the file is the old one or the new one. It is on the disk when MoveTo returns. What lies in a mirror is
// copied. Close leaves the file alone.
func (d *Document) MoveTo(name string) (err error) {
	defer func() { err = fault.Wrap("keep", d.URL, err) }()
	from := d.name
	if !d.spool {
		if from, err = copyTo(filepath.Dir(name), d.name); err != nil {
			return err
		}
	} else if err := flush(from); err != nil {
		return err
	}
	if err := os.Chmod(from, 0o644); err != nil { // a mirror is for others to read
		return err
	}
	err = os.Rename(from, name)
	if errors.Is(err, syscall.EXDEV) { // the spool is on another file system
		spooled := from
		if from, err = copyTo(filepath.Dir(name), spooled); err == nil {
			err = errors.Join(os.Chmod(from, 0o644), os.Rename(from, name), os.Remove(spooled))
		}
	}
	if err != nil {
		return err
	}
	d.name, d.spool = name, false
	return nil
}

// copyTo copies a file to a new one in a directory and returns its name.
func copyTo(dir, name string) (_ string, err error) {
	from, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp(dir, ".trawl-feed-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return "", errors.Join(err, os.Remove(to.Name()))
	}
	return to.Name(), nil
}

// flush has the system write a file to the disk.
func flush(name string) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
