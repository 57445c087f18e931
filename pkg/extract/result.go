package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/extract/untar"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// result is what was read of one file.
type result struct {
	row      *row
	path     string
	via      string // the path at which it is, if a link makes it one that the table looks for
	listed   bool   // the layer lists the file; else it only hides the one below
	release  distro.Distribution
	packages []inventory.Package
	problems []inventory.Problem
	spool    *spool // of a file that is read in place, at the end
}

func (res *result) close() {
	if res != nil {
		_ = res.spool.Close() // it was read only
	}
}

// read reads a file of the archive as the row says, and keeps the result at the path p; via is where it really is,
// if it is elsewhere. Errors are for the layer as a whole; what is wrong with the file is a problem of the result.
func (f *findings) read(p, via string, r *row, e *untar.Entry, w *untar.Walker) error {
	f.drop(p)
	f.files++
	res := &result{row: r, path: p, via: via}
	if f.results[r.pattern] == nil {
		f.results[r.pattern] = map[string]*result{}
	}
	f.results[r.pattern][p] = res
	if err := f.keep(1); err != nil {
		return err
	}
	most := f.lim.ParsedFileBytes
	if limits.Check("", "", most, e.Size) != nil {
		res.tooLarge(most, e.Size)
		return nil //nolint:nilerr // it is a problem of this file alone
	}
	content, err := w.Open()
	if err != nil {
		return err
	}
	in := &limited{r: content, most: most}
	switch {
	case r.release != nil:
		err = res.readRelease(in)
	case r.packages.read != nil:
		err = f.collect(res, r.packages.read(in), in)
	default:
		res.spool, err = newSpool(in, f.tempDir)
	}
	if in.exceeded() {
		res.close()
		*res = result{row: r, path: p, via: via}
		res.tooLarge(most, in.n)
		return nil
	}
	return err
}

// readRelease reads a release file. One that is well-formed and names no distribution, as etc/lsb-release is on
// Red Hat, says nothing, and that is no problem.
func (res *result) readRelease(in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, distro.MaxFileBytes+1))
	if err != nil {
		return err
	}
	d, err := res.row.release(string(text))
	switch {
	case err == nil:
		res.release, res.listed = d, true
	case !errors.Is(err, distro.ErrNoDistribution):
		res.problem(fault.KindOf(err), 0, err.Error())
	}
	return nil
}

// readSpooled reads a package database that had to be taken out of the archive first.
func (f *findings) readSpooled(res *result) error {
	log := f.results[res.row.pattern+logSuffix][res.path+logSuffix]
	var logSpool *spool
	if log != nil {
		logSpool = log.spool
	}
	return f.collect(res, res.row.packages.readInPlace(res.spool.section(), logSpool.section()), nil)
}

// collect takes in what a package database yields. in is the stream it is read from, if it is one.
func (f *findings) collect(res *result, seq iter.Seq2[inventory.Package, error], in *limited) error {
	var bad int
	var first string
	var failed error
	for p, err := range seq {
		if f.ctx.Err() != nil {
			return context.Cause(f.ctx)
		}
		if err == nil {
			err = check(p)
		}
		var record *inventory.BadRecord
		switch {
		case err == nil:
			res.packages = append(res.packages, p)
			if err := f.keep(1); err != nil {
				return err
			}
		case errors.As(err, &record):
			if bad++; bad == 1 {
				first = record.Error()
			}
		default:
			failed = err
		}
	}
	if host := (*hostError)(nil); errors.As(failed, &host) {
		return failed
	}
	if in != nil && in.err != nil {
		return in.err // the file is fine, but the archive or the layer's stream are not
	}
	res.listed = failed == nil || len(res.packages) > 0
	slices.SortFunc(res.packages, inventory.Package.Compare)
	res.packages = slices.Clip(slices.Compact(res.packages))
	if bad > 1 {
		first += fmt.Sprintf(" (and %d more)", bad-1)
	}
	if bad > 0 {
		res.problem(fault.Corrupt, bad, first)
	}
	if failed != nil {
		res.problem(fault.KindOf(failed), 0, failed.Error())
	}
	return nil
}

func (res *result) problem(kind fault.Kind, count int, detail string) {
	p := problemf(res.path, kind, "%s", detail)
	p.Count = count
	res.problems = append(res.problems, p)
}

func (res *result) tooLarge(most, got int64) {
	err := &limits.Error{What: "size of a file to be read", Unit: "bytes", Most: most, Got: got}
	res.problem(fault.TooLarge, 0, err.Error())
}

// problemf returns a problem. Its text is made printable: names in it come from the layer.
func problemf(path string, kind fault.Kind, format string, args ...any) inventory.Problem {
	return inventory.Problem{Path: printable(path), Kind: kind.String(), Detail: printable(fmt.Sprintf(format, args...))}
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// maxFieldBytes bounds each field of a package. Real ones stay below 100.
const maxFieldBytes = 1024

// check returns an [*inventory.BadRecord] for a package whose fields cannot be what they say.
func check(p inventory.Package) error {
	for _, field := range [...]struct{ name, value string }{
		{"name", p.Name}, {"version", p.Version}, {"architecture", p.Arch},
		{"source name", p.SourceName}, {"source version", p.SourceVersion}, {"module", p.Module},
	} {
		if len(field.value) > maxFieldBytes || !isWord(field.value) {
			return &inventory.BadRecord{Record: fmt.Sprintf("package %.80q", p.Name), Reason: fmt.Sprintf("%s %.80q", field.name, field.value)}
		}
	}
	return nil
}

// isWord reports whether s is printable UTF-8 without spaces.
func isWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return c >= utf8.RuneSelf && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
				return unicode.IsSpace(r) || unicode.IsControl(r)
			})
		}
	}
	return true
}

// limited reads at most that many bytes, and notes whether there were more.
type limited struct {
	r    io.Reader
	most int64 // negative is no limit
	n    int64
	err  error // of r, if it was not the end
}

func (l *limited) exceeded() bool { return l.most >= 0 && l.n > l.most }

func (l *limited) Read(p []byte) (int, error) {
	if l.exceeded() {
		return 0, io.EOF
	}
	if l.most >= 0 {
		p = p[:min(int64(len(p)), l.most+1-l.n)]
	}
	n, err := l.r.Read(p)
	l.n += int64(n)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}
