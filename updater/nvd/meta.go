package nvd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Meta is what NVD tells about a feed beside it.
type Meta struct {
	Modified  time.Time // UTC
	SizeBytes int64     // of the document, inflated
	SHA256    []byte    // of the document, inflated
}

// MetaAddress returns where the meta document of a feed is.
func MetaAddress(feed string) string { return strings.TrimSuffix(feed, ".json.gz") + ".meta" }

// maxMetaBytes bounds a meta document. Real ones have less than 200 bytes.
const maxMetaBytes = 4 << 10

// ParseMeta reads a meta document, a few lines of "name:value". The error is a fault of kind Corrupt, or of the kind
// that reading r failed with.
func ParseMeta(r io.Reader) (Meta, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxMetaBytes+1))
	if err == nil && len(text) > maxMetaBytes {
		err = fmt.Errorf("longer than %d bytes", maxMetaBytes)
	}
	var out Meta
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		var bad error
		switch name {
		case "lastModifiedDate":
			out.Modified, bad = time.Parse(time.RFC3339, value)
			out.Modified = out.Modified.UTC()
		case "size":
			out.SizeBytes, bad = strconv.ParseInt(value, 10, 64)
		case "sha256":
			out.SHA256, bad = hex.DecodeString(value)
		}
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, bad))
		}
	}
	if err == nil && len(out.SHA256) != sha256.Size {
		err = errors.New("no SHA-256 digest")
	}
	if err != nil {
		return Meta{}, corrupt("parse", "meta document", err)
	}
	return out, nil
}

func corrupt(op, subject string, err error) error {
	kind := fault.KindOf(err)
	if kind == fault.Unknown {
		kind = fault.Corrupt
	}
	return fault.New(kind, op, subject, err)
}

// Verify returns a reader of the inflated feed in r, which ends with a fault of kind Corrupt in place of [io.EOF] where
// the feed is not the one that the meta document is about. The feed and its meta document are not changed in one
// moment upstream, so it may pass when both are fetched anew.
func Verify(r io.Reader, m Meta) io.Reader {
	return &verified{r: r, sum: sha256.New(), want: m.SHA256}
}

type verified struct {
	r    io.Reader
	sum  hash.Hash
	want []byte
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := v.sum.Sum(nil); !bytes.Equal(got, v.want) {
			return n, fault.Newf(fault.Corrupt, "verify", "NVD feed", "its SHA-256 digest is %x, its meta document says %x", got, v.want)
		}
	}
	return n, err
}
