package rpmdb

import (
	"io"
	"os"
	"testing"
)

func open1(t testing.TB, path string) *io.SectionReader {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, _ := f.Stat()
	return io.NewSectionReader(f, 0, st.Size())
}
