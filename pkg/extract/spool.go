package extract

import (
	"bytes"
	"io"
	"os"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// spoolMemoryBytes is the size up to which a file that is read in place is kept in memory.
const spoolMemoryBytes = 1 << 20

// spool is a file taken out of the archive, to be read in place. It has to be closed.
type spool struct {
	*io.SectionReader
	file *os.File // nil if it is in memory
}

// newSpool copies r, in memory or to a temporary file in dir. The file has no name: nothing is left of it if
// the process dies. Errors are those of r, or of kind Unavailable.
func newSpool(r io.Reader, dir string) (*spool, error) {
	head, err := io.ReadAll(io.LimitReader(r, spoolMemoryBytes+1))
	if err != nil {
		return nil, err
	}
	if len(head) <= spoolMemoryBytes {
		return &spool{SectionReader: io.NewSectionReader(bytes.NewReader(head), 0, int64(len(head)))}, nil
	}
	file, err := temporary(dir)
	if err != nil {
		return nil, unavailable(err)
	}
	size, err := io.Copy(writeErrors{file}, io.MultiReader(bytes.NewReader(head), r))
	if err != nil {
		file.Close() //nolint:errcheck // it is thrown away
		return nil, err
	}
	return &spool{io.NewSectionReader(readErrors{file}, 0, size), file}, nil
}

// temporary returns a new file without a name.
func temporary(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "trawl-*.rpmdb")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close() //nolint:errcheck // it is thrown away
		return nil, err
	}
	return file, nil
}

func (s *spool) Close() error {
	if s == nil || s.file == nil {
		return nil
	}
	return s.file.Close()
}

// section returns the content, or nil for no spool.
func (s *spool) section() *io.SectionReader {
	if s == nil {
		return nil
	}
	return s.SectionReader
}

// writeErrors marks errors of writing a temporary file as such.
type writeErrors struct{ file *os.File }

func (w writeErrors) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	return n, unavailable(err)
}

// readErrors does so for reading.
type readErrors struct{ file *os.File }

func (r readErrors) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.file.ReadAt(p, offset)
	if err == io.EOF {
		return n, err
	}
	return n, unavailable(err)
}

// unavailable says that the fault is this machine's, not the layer's.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return &hostError{fault.New(fault.Unavailable, "keep", "a temporary file", err)}
}

// hostError is an error of this machine: it says nothing about the layer.
type hostError struct{ cause *fault.Error }

func (e *hostError) Error() string { return e.cause.Error() }

func (e *hostError) Unwrap() error { return e.cause }
