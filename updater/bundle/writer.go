package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Writer makes a bundle. The sections are written to a temporary file beside it, each compressed on its own, for the
// manifest stands before them and has their sizes; [Writer.Finish] joins them without compressing anything again.
// It is for one goroutine. The caller calls Close.
type Writer struct {
	name     string
	data     *os.File // the compressed sections, one behind the other
	pack     *zstd.Encoder
	end      int64 // of data
	sections []Section
	packed   []int64 // for each section with a file, its compressed size
	failed   error
}

// Create begins a bundle in a file. The file itself appears, or is replaced, with [Writer.Finish].
func Create(name string) (*Writer, error) {
	data, err := os.CreateTemp(filepath.Dir(name), ".trawl-bundle-*")
	if err != nil {
		return nil, fault.New(fault.Invalid, "write", name, err)
	}
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, errors.Join(fault.New(fault.Invalid, "write", name, err), data.Close(), os.Remove(data.Name()))
	}
	return &Writer{name: name, data: data, pack: pack}, nil
}

// Close removes what is temporary. Without Finish, there is no bundle then.
func (w *Writer) Close() error {
	return errors.Join(w.data.Close(), os.Remove(w.data.Name()))
}

// Unchanged adds a feed that is as in the base, where it has the given version.
func (w *Writer) Unchanged(s Section, base Version) {
	s.File, s.Bytes, s.Lines, s.SHA256, s.Base = "", 0, 0, nil, &base
	w.sections = append(w.sections, s)
}

// Records adds a section of advisories: [Ranges] or [Descriptions]. Errors in the records end it.
func (w *Writer) Records(s Section, records advisory.Records) (Section, error) {
	return add(w, s, records, formatRecord)
}

// Exploitations adds a section of another content.
func (w *Writer) Exploitations(s Section, facts advisory.Exploitations) (Section, error) {
	return add(w, s, facts, formatExploitation)
}

// add writes a section and returns it with its size. After an error the Writer is of no more use.
func add[T any](w *Writer, s Section, items func(yield func(T, error) bool), format func(T) ([]byte, error)) (Section, error) {
	if w.failed != nil {
		return s, w.failed
	}
	s.File, s.Base, s.Bytes, s.Lines = fileName(len(w.packed)), nil, 0, 0
	w.pack.Reset(w.data)
	sum := sha256.New()
	for item, err := range items {
		var line []byte
		if err == nil {
			line, err = format(item)
		}
		if err == nil {
			err = limits.Check("length of a line", "bytes", maxLineBytes, int64(len(line)))
		}
		if err == nil {
			line = append(line, '\n')
			s.Lines++
			s.Bytes += int64(len(line))
			sum.Write(line)
			_, err = w.pack.Write(line)
		}
		if err != nil {
			w.failed = fault.Wrap("export", s.String(), err)
			return s, w.failed
		}
	}
	end, err := w.finish()
	if err != nil {
		w.failed = fault.New(fault.Unavailable, "write", w.name, err)
		return s, w.failed
	}
	s.SHA256 = sum.Sum(nil)
	w.sections, w.packed, w.end = append(w.sections, s), append(w.packed, end-w.end), end
	return s, nil
}

// finish ends a frame and returns where.
func (w *Writer) finish() (int64, error) {
	if err := w.pack.Close(); err != nil {
		return 0, err
	}
	return w.data.Seek(0, io.SeekCurrent)
}

// Finish writes the bundle and puts it in place, at once: whatever ends this process, the file is as before or whole.
// Without a key, it is not signed. It returns the manifest.
func (w *Writer) Finish(m Manifest, key ed25519.PrivateKey) (*Manifest, error) {
	if w.failed != nil {
		return nil, w.failed
	}
	m.Format, m.Created, m.Sections = Format, m.Created.UTC().Truncate(time.Second), w.sections
	if err := m.check(); err != nil {
		return nil, fault.New(fault.Invalid, "write", w.name, err)
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, fault.New(fault.Invalid, "write", w.name, err)
	}
	if err := limits.Check("size of the manifest", "bytes", maxManifestBytes, int64(len(text))); err != nil {
		return nil, fault.Wrap("write", w.name, err)
	}
	if err := w.assemble(&m, text, key); err != nil {
		return nil, fault.New(fault.Unavailable, "write", w.name, err)
	}
	return &m, nil
}

func (w *Writer) assemble(m *Manifest, text []byte, key ed25519.PrivateKey) (err error) {
	out, err := os.CreateTemp(filepath.Dir(w.name), ".trawl-bundle-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), os.Remove(out.Name()))
		}
	}()
	f := &framer{out: out, pack: w.pack, created: m.Created}
	f.entry(manifestName, text)
	if key != nil {
		f.entry(signatureName, ed25519.Sign(key, text))
	}
	if _, err := w.data.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n := 0
	for _, s := range m.Sections {
		if s.File == "" {
			continue
		}
		f.header(s.File, s.Bytes)
		f.copy(w.data, w.packed[n])
		f.pad(s.Bytes)
		n++
	}
	f.frame(make([]byte, 1024)) // the end of a tar file
	if f.err != nil {
		return f.err
	}
	if err := errors.Join(out.Chmod(0o644), out.Sync()); err != nil {
		return err
	}
	if err := os.Rename(out.Name(), w.name); err != nil {
		return err
	}
	return out.Close()
}

// framer writes a tar file in frames of zstd. It goes on to do nothing after an error.
type framer struct {
	out     io.Writer
	pack    *zstd.Encoder
	created time.Time
	err     error
}

// frame writes bytes as a frame.
func (f *framer) frame(p []byte) {
	if f.err != nil || len(p) == 0 {
		return
	}
	f.pack.Reset(f.out)
	_, err := f.pack.Write(p)
	f.err = errors.Join(err, f.pack.Close())
}

// header writes the header of an entry.
func (f *framer) header(name string, size int64) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: f.created, Format: tar.FormatPAX})
	f.err = errors.Join(f.err, err)
	f.frame(b.Bytes())
}

// pad writes what fills up an entry to whole blocks.
func (f *framer) pad(size int64) { f.frame(make([]byte, -size&511)) }

func (f *framer) entry(name string, content []byte) {
	f.header(name, int64(len(content)))
	f.frame(content)
	f.pad(int64(len(content)))
}

// copy passes on what is compressed already.
func (f *framer) copy(from io.Reader, n int64) {
	if f.err == nil {
		if _, err := io.CopyN(f.out, from, n); err != nil {
			f.err = fmt.Errorf("copy section: %w", err)
		}
	}
}
