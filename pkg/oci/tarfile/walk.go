package tarfile

import (
	"archive/tar"
	"context"
	"errors"
	"io"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Walk calls f with each entry of the tar file at path, compressed or not, until f says that it
// wants no more or fails. name is the entry's, clean and without leading slash. It reads no more
// than limits.InflatedBytes and limits.Entries. The errors are those of f and of [Index].
func Walk(ctx context.Context, path string, l limits.Limits, f func(name string, h *tar.Header, content io.Reader) (more bool, err error)) error {
	file, _, err := openRegular(path)
	if err != nil {
		return err
	}
	defer file.Close()
	l = l.WithDefaults()
	s, _, err := newSource(ctx, file, l)
	if err != nil {
		return fault.Wrap("read", path, err)
	}
	defer s.Close()
	tr := tar.NewReader(s)
	for seen := int64(1); ; seen++ {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fault.Wrap("read", path, readError(seen == 1, err))
		}
		if err := limits.Check("entries of the tar file", "entries", l.Entries, seen); err != nil {
			return fault.Wrap("read", path, err)
		}
		more, err := f(clean(h.Name), h, tr)
		if err != nil || !more {
			return err
		}
	}
}

// readError gives an error of a [tar.Reader] its kind. atStart says that nothing had been read before
// it came up: then it is no tar file at all.
func readError(atStart bool, err error) error {
	if atStart && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return fault.New(fault.Unsupported, "read", "", errors.New("not a tar file"))
	}
	return corrupt(err)
}
