package tarfile

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Compression is how a file is compressed.
type Compression string

// The compressions. The value is the suffix that media types have for it (image-spec v1.1,
// layer.md); the last two stand in no specification.
const (
	None  Compression = ""
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
	XZ    Compression = "xz"
)

// magics tells compressions by their first bytes: RFC 1952, RFC 8878, bzip2's BZ_HDR, xz-file-format
// 2.1.1.1.
var magics = []struct {
	compression Compression
	magic       []byte
}{
	{Gzip, []byte{0x1f, 0x8b, 0x08}},
	{Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd}},
	{Bzip2, []byte("BZh")},
	{XZ, []byte{0xfd, '7', 'z', 'X', 'Z', 0}},
}

// Sniff returns the compression of what begins with head, of which six bytes are enough.
func Sniff(head []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, m.magic) {
			return m.compression
		}
	}
	return None
}

// SniffFile returns the compression of a file. It does not move the file's offset.
func SniffFile(f io.ReaderAt) (Compression, error) {
	var head [6]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return None, fault.New(fault.Unavailable, "read", "", err)
	}
	return Sniff(head[:n]), nil
}

// maxWindowBytes is the most memory that a stream may demand to be inflated: what zstd --long and
// xz -9 need, with room.
const maxWindowBytes = 128 << 20

// Inflate returns a reader of what r holds. The caller closes it; that does not close r. Errors have
// kind [fault.Corrupt], or [fault.TooLarge] for a stream that demands too much memory; those of r that
// have a kind keep it.
func Inflate(r io.Reader, c Compression) (io.ReadCloser, error) {
	switch c {
	case None:
		return io.NopCloser(r), nil
	case Gzip:
		g, err := gzip.NewReader(bufio.NewReaderSize(r, 256<<10))
		return inflater(g, err)
	case Zstd:
		z, err := zstd.NewReader(r,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindowBytes))
		if err != nil {
			return nil, corrupt(err)
		}
		return inflater(z.IOReadCloser(), nil)
	case Bzip2:
		return inflater(io.NopCloser(bzip2.NewReader(bufio.NewReaderSize(r, 256<<10))), nil)
	case XZ:
		b := bufio.NewReaderSize(r, 256<<10)
		if err := checkXZ(b); err != nil {
			return nil, err
		}
		x, err := xz.NewReader(b)
		return inflater(io.NopCloser(x), err)
	}
	return nil, fault.Newf(fault.Unsupported, "inflate", "", "unknown compression %q", string(c))
}

func inflater(r io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, corrupt(err)
	}
	return &faulting{r}, nil
}

// faulting gives the errors of an inflater their kind.
type faulting struct{ io.ReadCloser }

func (f *faulting) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		var demand *limits.Error
		if errors.Is(err, zstd.ErrWindowSizeExceeded) {
			demand = windowError(maxWindowBytes + 1)
			return n, demand
		}
		err = corrupt(err)
	}
	return n, err
}

func windowError(got int64) *limits.Error {
	return &limits.Error{What: "memory that the compressed stream demands", Unit: "bytes", Most: maxWindowBytes, Got: got}
}

// checkXZ looks at the first block of an xz stream for the dictionary that it demands, which would
// be allocated at once (xz-file-format 3.1, 5.3.1).
func checkXZ(b *bufio.Reader) error {
	const streamHeader = 12
	head, err := b.Peek(streamHeader + 1)
	if err != nil || head[streamHeader] == 0 {
		return nil //nolint:nilerr // the reader will say what is wrong, or there is no block
	}
	head, err = b.Peek(streamHeader + 4*(int(head[streamHeader])+1))
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	block := head[streamHeader:]
	at := 2
	for _, flag := range []byte{0x40, 0x80} { // the sizes that may stand first are multibyte integers
		if block[1]&flag != 0 {
			for at < len(block) && block[at]&0x80 != 0 {
				at++
			}
			at++
		}
	}
	if at+2 >= len(block) || block[at] != 0x21 || block[at+1] != 1 {
		return nil // not LZMA2 alone, which the reader refuses
	}
	bits := block[at+2] & 0x3f
	if bits > 40 {
		return fault.New(fault.Corrupt, "read", "", fmt.Errorf("xz: dictionary size %d is reserved", bits))
	}
	size := int64(2|bits&1) << (bits/2 + 11)
	if size > maxWindowBytes {
		return windowError(size)
	}
	return nil
}
