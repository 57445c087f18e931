package gunzip

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// pure inflates with github.com/klauspost/compress/flate.
type pure struct {
	r io.ReadCloser // also a flate.Resetter
}

func newPure() inflater { return &pure{} }

func (f *pure) reset(src *bufio.Reader) {
	if f.r == nil {
		f.r = flate.NewReader(src)
		return
	}
	f.r.(flate.Resetter).Reset(src, nil) //nolint:errcheck // always nil: there is no dictionary
}

func (f *pure) read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if corrupt := flate.CorruptInputError(0); errors.As(err, &corrupt) {
		err = ErrDeflate
	}
	return n, err
}

func (*pure) close() {}
