//go:build isal

package gunzip

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"
)

// inflateWith inflates a raw deflate stream in reads of the given size. It returns what follows the stream too.
func inflateWith(f inflater, stream []byte, size int) (content, rest []byte, err error) {
	defer f.close()
	var src wrapper
	src.reset(bytes.NewReader(stream))
	f.reset(&src)
	p := make([]byte, size)
	for {
		n, err := f.read(p)
		content = append(content, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return content, nil, err
		}
		if len(content) > 1<<20 {
			return content[:1<<20], nil, nil
		}
	}
	rest, err = io.ReadAll(&src)
	return content, rest, err
}

func deflated(t testing.TB, level int, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// FuzzDifferential holds the two implementations to the same answers, and both to a slow one. ISA-L alone takes
// incomplete Huffman codes, which no encoder makes and engines refuse; what it makes of them is right.
func FuzzDifferential(f *testing.F) {
	text := bytes.Repeat([]byte("Package: libc6\nStatus: install ok installed\n"), 50)
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		f.Add(deflated(f, level, text), uint16(100))
		f.Add(append(deflated(f, level, []byte("abc")), "what follows"...), uint16(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		p := int(size)%5000 + 1
		content, consumed, incomplete, refErr := reference(stream, 1<<20)
		if len(content) > 1<<20 {
			return
		}
		pure, pureRest, pureErr := inflateWith(newPure(), stream, p)
		isal, isalRest, isalErr := inflateWith(newISAL(), stream, p)
		if (isalErr != nil) != (refErr != nil) || (pureErr != nil) != (refErr != nil || incomplete) {
			t.Fatalf("klauspost says %v, ISA-L %v, the reference %v, incomplete %t", pureErr, isalErr, refErr, incomplete)
		}
		if refErr == nil && (!bytes.Equal(isal, content) || !bytes.Equal(isalRest, stream[consumed:])) {
			t.Fatalf("ISA-L gives %d bytes and leaves %d, the reference %d and %d", len(isal), len(isalRest), len(content), len(stream)-consumed)
		}
		if pureErr == nil && (!bytes.Equal(pure, content) || !bytes.Equal(pureRest, stream[consumed:])) {
			t.Fatalf("klauspost gives %d bytes and leaves %d, the reference %d and %d", len(pure), len(pureRest), len(content), len(stream)-consumed)
		}
	})
}
