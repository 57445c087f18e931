package fetch

import (
	"bufio"
	"compress/bzip2"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Open returns the document inflated: gzip, zstd, bzip2 and xz are told by their first bytes, whatever
// the name. The progress counts bytes as transferred. A document that inflates to more than the limit of its Fetcher
// ends in a fault of kind TooLarge. The caller closes it.
func (d *Document) Open(progress func(read, total int64)) (io.ReadCloser, error) {
	file, err := os.Open(d.name)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open", d.URL, err)
	}
	var source io.Reader = file
	if progress != nil {
		source = &meter{r: file, tick: func(n int64) { progress(n, d.SizeBytes) }}
	}
	inflated, err := inflate(bufio.NewReaderSize(source, 256<<10))
	if err != nil {
		_ = file.Close()
		return nil, fault.New(fault.Corrupt, "inflate", d.URL, err)
	}
	return &opened{source: inflated, file: file, url: d.URL, max: d.maxInflated}, nil
}

// opened is an inflated document and the file behind it.
type opened struct {
	source io.Reader
	file   *os.File
	url    string
	n, max int64
}

func (o *opened) Read(p []byte) (int, error) {
	if o.max > 0 && o.n > o.max {
		return 0, fault.Wrap("inflate", o.url, limits.Check("size of the document", "bytes", o.max, o.n))
	}
	n, err := o.source.Read(p)
	o.n += int64(n)
	return n, err
}

func (o *opened) Close() error {
	if closer, ok := o.source.(interface{ Close() }); ok { // zstd
		closer.Close()
	}
	return o.file.Close()
}

func inflate(r *bufio.Reader) (io.Reader, error) {
	head, err := r.Peek(6)
	if err != nil && err != io.EOF { // Peek returns io.EOF as it is
		return nil, err
	}
	switch {
	case hasPrefix(head, 0x1f, 0x8b):
		return gzip.NewReader(r)
	case hasPrefix(head, 0x28, 0xb5, 0x2f, 0xfd):
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	case hasPrefix(head, 'B', 'Z', 'h'):
		return bzip2.NewReader(r), nil
	case hasPrefix(head, 0xfd, '7', 'z', 'X', 'Z', 0):
		return xz.NewReader(r)
	}
	return r, nil
}
