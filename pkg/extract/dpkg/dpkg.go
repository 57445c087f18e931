// Package dpkg provides a reader of dpkg's package database: var/lib/dpkg/status, see deb-control(5) and
// dpkg(1), and the single stanzas that distroless images have in var/lib/dpkg/status.d instead.
//
// It compares no versions and reads no file lists.
package dpkg

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/extract/lines"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// Packages yields the packages that are installed according to the database read from r, in its order.
//
// A stanza that is broken is yielded as an error, an [*inventory.BadRecord], and the reading goes on behind it. If
// it tells a package and a version nevertheless, as one with a line too many does, that package is yielded before.
// Of a field that is given twice the second counts. Any other error is one of r and the last that is yielded.
func Packages(r io.Reader) iter.Seq2[inventory.Package, error] {
	return func(yield func(inventory.Package, error) bool) {
		text := lines.NewReader(r)
		var st stanza
		for {
			line, err := text.Next()
			if err != nil && err != io.EOF {
				yield(inventory.Package{}, err)
				return
			}
			if len(line) > 0 {
				st.add(line, text)
				continue
			}
			if st.line > 0 {
				p, installed, bad := st.pkg()
				if installed && !yield(p, nil) || bad != nil && !yield(inventory.Package{}, bad) {
					return
				}
				st = stanza{}
			}
			if err == io.EOF {
				return
			}
		}
	}
}

// stanza is what counts of a stanza.
type stanza struct {
	line                                         int // at which it begins; 0: there is none yet
	name, version, arch, source, status, problem string
	inValue                                      bool // a continuation line may follow
}

// add takes in a line of the stanza.
func (st *stanza) add(line []byte, text *lines.Reader) {
	number := text.Number()
	if st.line == 0 {
		st.line = number
	}
	if line[0] == ' ' || line[0] == '\t' {
		if !st.inValue {
			st.broken("line %d continues nothing", number)
		}
		return
	}
	key, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(key) == 0 {
		st.broken("line %d is no field", number)
		return
	}
	st.inValue = true
	field := st.field(key)
	switch {
	case field == nil:
		return
	case text.Cut():
		st.broken("line %d is longer than %d bytes", number, lines.MaxBytes)
		return
	case *field != "":
		st.broken("line %d gives a field again", number)
	}
	*field = string(bytes.TrimSpace(value))
}

// field returns where the value of the field belongs, or nil. Names of fields are not case-sensitive.
func (st *stanza) field(key []byte) *string {
	switch len(key) { // most fields are none of ours
	case len("Status"), len("Package"), len("Architecture"):
	default:
		return nil
	}
	switch strings.ToLower(string(key)) {
	case "package":
		return &st.name
	case "version":
		return &st.version
	case "architecture":
		return &st.arch
	case "source":
		return &st.source
	case "status":
		return &st.status
	}
	return nil
}

// broken notes the first thing that is wrong with the stanza.
func (st *stanza) broken(format string, args ...any) {
	if st.problem == "" {
		st.problem = fmt.Sprintf(format, args...)
	}
}

// pkg returns the package that the stanza describes, if it is installed, and what is wrong with the stanza.
func (st *stanza) pkg() (p inventory.Package, installed bool, bad error) {
	installed, known := isInstalled(st.status)
	source, version, ok := parseSource(st.source)
	switch {
	case st.name == "":
		st.broken("no Package")
	case !known:
		st.broken("status %.40q", st.status)
	case installed && st.version == "":
		st.broken("no Version")
	case !ok:
		st.broken("source %.80q", st.source)
	}
	if st.problem != "" {
		record := fmt.Sprintf("stanza at line %d", st.line)
		if st.name != "" {
			record += fmt.Sprintf(" (%.80s)", st.name)
		}
		bad = &inventory.BadRecord{Record: record, Reason: st.problem}
	}
	if st.name == "" || st.version == "" || !installed {
		return inventory.Package{}, false, bad
	}
	p = inventory.Package{
		Kind: inventory.Deb, Name: st.name, Version: st.version, Arch: st.arch, SourceName: source, SourceVersion: version,
	}
	if source == "" || !ok {
		p.SourceName = p.Name
	}
	if version == "" || !ok {
		p.SourceVersion = p.Version
	}
	return p, true, bad
}

// isInstalled reports whether a package of that Status has its files in place. Of the three words (want, flag,
// state) only the state counts: what is to be removed ("deinstall ok installed") is still there.
//
// A package that is unpacked and waits to be configured, or for triggers, counts: its files are all there,
// and builds of images end in such states. One that is half-installed does not: its unpacking or removal was
// broken off. Nor does one of which only the configuration is left. A stanza without Status, as in
// status.d, is installed.
func isInstalled(status string) (installed, known bool) {
	if status == "" {
		return true, true
	}
	words := strings.Fields(status)
	if len(words) != 3 {
		return false, false
	}
	switch words[2] {
	case "installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending":
		return true, true
	case "not-installed", "config-files", "half-installed":
		return false, true
	}
	return false, false
}

// parseSource reads the field Source: "name" or "name (version)".
func parseSource(s string) (name, version string, ok bool) {
	name, rest, found := strings.Cut(s, "(")
	name = strings.TrimSpace(name)
	if !found {
		return name, "", true
	}
	version, ok = strings.CutSuffix(rest, ")")
	version = strings.TrimSpace(version)
	return name, version, ok && name != "" && version != ""
}
