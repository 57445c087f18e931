package local

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// file is a file of a layer.
type file struct {
	name string
	text []byte
}

// layer is a layer of an image: a tar, gzipped. It implements [v1.Layer].
type layer struct {
	compressed, inflated []byte
	sum, inflatedSum     v1.Hash
	status               []byte // what the package database is above it
}

func newLayer(files []file) (layer, error) {
	var plain, packed bytes.Buffer
	t := tar.NewWriter(&plain)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(header); err != nil {
			return layer{}, fault.New(fault.Invalid, "make", "a layer", err)
		}
		_, _ = t.Write(f.text) // an error shows at the end
	}
	z := gzip.NewWriter(&packed)
	if err := t.Close(); err != nil {
		return layer{}, fault.New(fault.Invalid, "make", "a layer", err)
	}
	_, _ = z.Write(plain.Bytes())
	_ = z.Close() // neither fails: the buffer takes everything
	return layer{
		compressed: packed.Bytes(), inflated: plain.Bytes(), sum: hash(packed.Bytes()), inflatedSum: hash(plain.Bytes()),
	}, nil
}

func hash(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// Digest implements [v1.Layer].
func (l layer) Digest() (v1.Hash, error) { return l.sum, nil }

// DiffID implements [v1.Layer].
func (l layer) DiffID() (v1.Hash, error) { return l.inflatedSum, nil }

// Compressed implements [v1.Layer].
func (l layer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.compressed)), nil
}

// Uncompressed implements [v1.Layer].
func (l layer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.inflated)), nil
}

// Size implements [v1.Layer].
func (l layer) Size() (int64, error) { return int64(len(l.compressed)), nil }

// MediaType implements [v1.Layer].
func (l layer) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }

// release is the release file of all bases.
const release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"

// packages returns dpkg's database with n packages more than before, those of the numbers from first on, of the size
// that entries have as a rule.
func packages(r *rand.Rand, before []byte, first, n int) []byte {
	out := bytes.Clone(before)
	for p := first; p < first+n; p++ {
		out = fmt.Appendf(out, `Package: lib-%[1]d
Status: install ok installed
Priority: optional
Section: libs
Installed-Size: %[2]d
Maintainer: Debian Developers <debian-devel@lists.debian.org>
Architecture: amd64
Source: src-%[3]d
Version: %[4]d.%[5]d.%[6]d-%[7]d+deb12u%[8]d
Depends: libc6 (>= 2.34), lib-%[9]d (>= 1.0)
Description: library number %[1]d
 What the library does is told in some lines of text, as the policy of the
 distribution demands, so that people find it when they look for its words.
Homepage: https://lib-%[1]d.example

`, p, r.IntN(4000), p/2, r.IntN(9), r.IntN(30), r.IntN(20), 1+r.IntN(9), 1+r.IntN(9), r.IntN(first+n))
	}
	return out
}

// noise returns bytes that do not compress, n of them or up to seven more.
func noise(r *rand.Rand, n int) []byte {
	out := make([]byte, 0, n+7)
	for len(out) < n {
		out = binary.LittleEndian.AppendUint64(out, r.Uint64())
	}
	return out
}

// clutter returns n files that no scanner has a use for, of text and of bytes that do not compress.
func clutter(r *rand.Rand, dir string, n int) []file {
	out := make([]file, n)
	for i := range out {
		text := make([]byte, 200+r.IntN(2000))
		for j := range text {
			text[j] = byte('a' + r.IntN(26))
			if i%4 == 0 {
				text[j] = byte(r.Uint32())
			}
		}
		out[i] = file{fmt.Sprintf("%s/file-%d", dir, i), text}
	}
	return out
}
