package extract

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
)

func inflatedReader(t testing.TB, b []byte) io.Reader {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	return bytes.NewReader(b)
}
