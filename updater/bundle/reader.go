package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Trust says whom a reader believes.
type Trust struct {
	// Keys are the keys one of which has to have signed the bundle.
	Keys []ed25519.PublicKey
	// Unsigned takes a bundle whoever made it. Keys are not looked at then.
	Unsigned bool
}

// Reader reads a bundle from its start, section by section. It is for one goroutine.
type Reader struct {
	name     string
	file     io.ReadSeeker
	size     int64
	inflate  *zstd.Decoder
	entries  *tar.Reader
	manifest *Manifest
	text     []byte // the manifest as it stands there
	signed   bool
	next     int // section
}

// Open opens a bundle and reads its manifest. The caller closes it.
//
// Errors are faults: Unauthorized where no key of the trust has signed it; Corrupt; Unsupported for another version of
// the format; TooLarge.
func Open(name string, trust Trust) (*Reader, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read", name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, errors.Join(fault.New(fault.Invalid, "read", name, err), file.Close())
	}
	r, err := newReader(name, file, info.Size(), trust)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

func newReader(name string, file io.ReadSeeker, size int64, trust Trust) (*Reader, error) {
	r := &Reader{name: name, file: file, size: size}
	if err := r.rewind(); err != nil {
		r.close()
		return nil, err
	}
	if err := r.checkTrust(trust); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// ManifestOf reads the manifest of a bundle without looking at who signed it, or a manifest that is a file of its own,
// and returns it with its checksum.
func ManifestOf(name string) (*Manifest, Sum, error) {
	r, err := Open(name, Trust{Unsigned: true})
	if err == nil {
		sum := sha256.Sum256(r.text)
		return r.manifest, sum[:], r.Close()
	}
	text, readErr := os.ReadFile(name)
	if readErr != nil || len(text) == 0 || text[0] != '{' {
		return nil, nil, err
	}
	m, err := ParseManifest(text)
	sum := sha256.Sum256(text)
	return m, sum[:], fault.Wrap("read", name, err)
}

// Close closes the bundle.
func (r *Reader) Close() error {
	r.close()
	if closer, ok := r.file.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func (r *Reader) close() {
	if r.inflate != nil {
		r.inflate.Close()
	}
}

// Manifest returns what is in the bundle.
func (r *Reader) Manifest() *Manifest { return r.manifest }

// Signed reports whether a key that is trusted has signed the bundle.
func (r *Reader) Signed() bool { return r.signed }

// maxWindowBytes bounds what the decoder keeps. Writers of this package have windows of 4 MiB.
const maxWindowBytes = 32 << 20

// rewind goes to before the first section.
func (r *Reader) rewind() error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return fault.New(fault.Unavailable, "read", r.name, err)
	}
	r.close()
	var err error
	r.inflate, err = zstd.NewReader(bufio.NewReaderSize(r.file, 256<<10), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(maxWindowBytes), zstd.WithDecoderMaxMemory(maxWindowBytes))
	if err != nil {
		return corrupt(r.name, "%w", err)
	}
	r.entries, r.next = tar.NewReader(r.inflate), 0
	text, err := r.small(manifestName, maxManifestBytes)
	if err != nil {
		return err
	}
	if r.manifest != nil {
		if !bytes.Equal(text, r.text) {
			return fault.Newf(fault.Conflict, "read", r.name, "it was changed meanwhile")
		}
		return nil
	}
	if r.manifest, err = ParseManifest(text); err != nil {
		return fault.Wrap("read", r.name, err)
	}
	r.text = text
	return r.checkSize()
}

// checkSize refuses a bundle that says that it inflates to more than advisories do.
func (r *Reader) checkSize() error {
	var total int64
	for _, s := range r.manifest.Sections {
		total += s.Bytes
	}
	if total > limits.RatioFloorBytes {
		if err := limits.Check("size of the files", "bytes for each compressed", maxRatio, total/max(r.size, 1)); err != nil {
			return fault.Wrap("read", r.name, err)
		}
	}
	return nil
}

// small reads the next entry, which has to have that name.
func (r *Reader) small(name string, most int64) ([]byte, error) {
	entry, err := r.entry()
	if err != nil {
		return nil, err
	}
	if entry.Name != name {
		return nil, corrupt(r.name, "entry %s: want %q", cut(entry.Name), name)
	}
	if err := limits.Check("size of "+name, "bytes", most, entry.Size); err != nil {
		return nil, fault.Wrap("read", r.name, err)
	}
	text, err := io.ReadAll(r.entries)
	if err != nil {
		return nil, corrupt(r.name, "%s: %w", name, err)
	}
	return text, nil
}

// entry returns the header of the next entry, a plain file.
func (r *Reader) entry() (*tar.Header, error) {
	entry, err := r.entries.Next()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, corrupt(r.name, "%w", err)
	}
	if entry.Typeflag != tar.TypeReg {
		return nil, corrupt(r.name, "entry %s is not a regular file", cut(entry.Name))
	}
	return entry, nil
}

// checkTrust looks who signed the bundle.
func (r *Reader) checkTrust(trust Trust) error {
	if trust.Unsigned {
		return nil
	}
	entry, err := r.entries.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return corrupt(r.name, "%w", err)
	}
	if err != nil || entry.Name != signatureName {
		return fault.Newf(fault.Unauthorized, "verify", r.name, "it is not signed")
	}
	if entry.Size != ed25519.SignatureSize {
		return corrupt(r.name, "a signature of %d bytes", entry.Size)
	}
	signature, err := io.ReadAll(r.entries)
	if err != nil {
		return corrupt(r.name, "%s: %w", signatureName, err)
	}
	for _, key := range trust.Keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, r.text, signature) {
			r.signed = true
			return nil
		}
	}
	return fault.Newf(fault.Unauthorized, "verify", r.name, "it is signed by a key that is not trusted here, or was changed since")
}

// Verify reads all of the bundle and reports whether it is what the manifest says, to the last line. Then it goes to the
// first section, whatever was read before. The progress, unless nil, is of the inflated bytes.
func (r *Reader) Verify(progress func(read, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if err := r.rewind(); err != nil {
		return err
	}
	var read, total int64
	for _, s := range r.manifest.Sections {
		total += s.Bytes
	}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.rewind()
		}
		if err != nil {
			return err
		}
		if s.File == "" {
			continue
		}
		if s.Content == Ranges || s.Content == Descriptions {
			err = drain(r.Records())
		} else {
			err = drain(r.Exploitations())
		}
		if err != nil {
			return err
		}
		read += s.Bytes
		progress(read, total)
	}
}

// drain reads items and returns the error among them.
func drain[T any](items func(yield func(T, error) bool)) error {
	for _, err := range items {
		if err != nil {
			return err
		}
	}
	return nil
}

// Next goes to the next section and returns it; behind the last it returns [io.EOF]. What was not read of the one before
// is left out.
func (r *Reader) Next() (Section, error) {
	if r.next == len(r.manifest.Sections) {
		entry, err := r.entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return Section{}, io.EOF
		case err != nil:
			return Section{}, corrupt(r.name, "%w", err)
		case entry.Name == signatureName && r.files() == 0:
			return Section{}, io.EOF // it was not looked at
		}
		return Section{}, corrupt(r.name, "entry %s is not in the manifest", cut(entry.Name))
	}
	s := r.manifest.Sections[r.next]
	r.next++
	if s.File == "" {
		return s, nil
	}
	entry, err := r.entry()
	if err == nil && entry.Name == signatureName && s.File == fileName(0) {
		entry, err = r.entry() // it was looked at before
	}
	if err != nil {
		return Section{}, err
	}
	if entry.Name != s.File || entry.Size != s.Bytes {
		return Section{}, corrupt(r.name, "entry %s of %d bytes: the manifest has %q of %d", cut(entry.Name), entry.Size, s.File, s.Bytes)
	}
	return s, nil
}

func (r *Reader) files() (n int) {
	for _, s := range r.manifest.Sections {
		if s.File != "" {
			n++
		}
	}
	return n
}

// Records returns the advisories of the section that [Reader.Next] returned last. They are read once. Where the section is
// not what the manifest says, they end in an error, of kind Corrupt: behind the last of them, so what is made of them
// counts only when they have ended without one.
func (r *Reader) Records() advisory.Records { return parseLines(r, parseRecord) }

// Exploitations is Records for a section of another content.
func (r *Reader) Exploitations() advisory.Exploitations { return parseLines(r, parseExploitation) }

func parseLines[T any](r *Reader, parse func([]byte) (T, error)) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		s := r.manifest.Sections[r.next-1]
		sum := sha256.New()
		lines := bufio.NewScanner(io.TeeReader(r.entries, sum))
		lines.Buffer(make([]byte, 0, 64<<10), maxLineBytes+1)
		lines.Split(wholeLines)
		var none T
		var n int64
		for lines.Scan() {
			n++
			item, err := parse(lines.Bytes())
			if err != nil {
				yield(none, corrupt(r.name, "%s line %d: %w", s, n, err))
				return
			}
			if !yield(item, nil) {
				return
			}
		}
		err := lines.Err()
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			err = fault.Wrap("read", r.name, limits.Check("length of a line", "bytes", maxLineBytes, maxLineBytes+1))
		case err != nil:
			err = corrupt(r.name, "%s: %w", s, err)
		case n != s.Lines:
			err = corrupt(r.name, "%s has %d lines, the manifest %d", s, n, s.Lines)
		case !bytes.Equal(sum.Sum(nil), s.SHA256):
			err = corrupt(r.name, "%s does not have the checksum that the manifest has", s)
		}
		if err != nil {
			yield(none, err)
		}
	}
}

// wholeLines splits at line feeds. Text behind the last is an error: it was cut off.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
