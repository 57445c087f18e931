package gunzip

import (
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// pure inflates with github.com/klauspost/compress/flate.
type pure struct {
	r io.ReadCloser // also a flate.Resetter
}

func newPure() inflater { return &pure{} }

// inPlace is false: only on a bufio.Reader is it as fast as it can be.
func (*pure) inPlace() bool { return false }

func (f *pure) reset(src Source) {
	r := io.Reader(src)
	if w, ok := src.(*wrapper); ok {
		r = w.Reader
	}
	if f.r == nil {
		f.r = flate.NewReader(r)
		return
	}
	f.r.(flate.Resetter).Reset(r, nil) //nolint:errcheck // always nil: there is no dictionary
}

func (f *pure) read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if corrupt := flate.CorruptInputError(0); errors.As(err, &corrupt) {
		err = ErrDeflate
	}
	return n, err
}

func (*pure) close() {}
