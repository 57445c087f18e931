package gunzip

import (
	"bufio"
	"io"
)

// sourceBytes is the size of the buffer of compressed bytes. ISA-L is slow on small ones.
const sourceBytes = 256 << 10

// Source is a stream of compressed bytes with a buffer of its own, in which they can be looked at. The methods
// that it shares with [bufio.Reader] do what they do there; Peek is called for at most sixteen bytes, or for all
// that Buffered says.
type Source interface {
	io.Reader
	io.ByteReader
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
	Buffered() int
	// Offset returns how many bytes were read or discarded.
	Offset() int64
	// Err returns the error that ended the stream, if that was not [io.EOF].
	Err() error
}

// wrapper makes a Source out of any stream.
type wrapper struct {
	*bufio.Reader // of counted
	counted       counter
}

func (w *wrapper) reset(r io.Reader) {
	w.counted = counter{r: r}
	if w.Reader == nil {
		w.Reader = bufio.NewReaderSize(&w.counted, sourceBytes)
	} else {
		w.Reader.Reset(&w.counted)
	}
}

func (w *wrapper) Offset() int64 { return w.counted.n - int64(w.Buffered()) }

func (w *wrapper) Err() error { return w.counted.err }

// counter counts what is read, and remembers an error that is not the end.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
