// Package secdb reads security databases of distributions that use apk: Alpine, and Wolfi and Chainguard after it.
//
// # Format
//
// An object whose "packages" lists source packages, each with "secfixes", an object of the versions that fixed
// something and the identifiers of what they fixed. Version "0" says that the package never was affected. What
// is not fixed is not in it. The format has no other documentation than the generators,
// https://gitlab.alpinelinux.org/alpine/infra/docker/secdb and https://github.com/wolfi-dev/wolfictl.
//
// An entry may be written by hand in a package's build recipe. Most are one identifier of a CVE or of a GitHub
// advisory; some name several, the advisories of the package's own project, or carry a remark. Each CVE of an entry
// becomes a record, and the other identifiers its aliases.
package secdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/jsonstream"
)

// Database says whose a document is.
type Database struct {
	Namespace string                 // that it speaks for: "alpine:3.20"
	Link      func(id string) string // returns the page about a vulnerability
}

// pkg is one source package of a document.
type pkg struct {
	Pkg struct {
		Name     string                     `json:"name"`
		Secfixes map[string]json.RawMessage `json:"secfixes"`
	} `json:"pkg"`
}

// errStopped ends the walk when the consumer wants no more.
var errStopped = errors.New("stopped")

// Parse reads one document. A record is one identifier fixed by one version of one package; memory is bounded by
// the largest package.
func Parse(r io.Reader, db Database) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		w := jsonstream.New(r)
		var listed bool
		err := w.Object(func(name string) error {
			if name != "packages" {
				return w.Skip()
			}
			listed = true
			return w.Array(func(i int) error {
				var p pkg
				shape, broken := w.Value(&p)
				if broken != nil {
					return broken
				}
				if shape == nil && p.Pkg.Name == "" {
					shape = errors.New("it has no name")
				}
				if !p.emit(db, i, shape, yield) {
					return errStopped
				}
				return nil
			})
		})
		if err == nil {
			err = w.End()
		}
		if err == nil && !listed {
			err = errors.New("the document has no member \"packages\"")
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(advisory.Record{}, fault.New(fault.Corrupt, "parse", "secdb of "+db.Namespace, err))
		}
	}
}

// emit yields the records of one package, unless shape says that it could not be read. It reports
// whether the consumer wants more.
func (p pkg) emit(db Database, index int, shape error, yield func(advisory.Record, error) bool) bool {
	bad := func(subject string, reason any) bool {
		return yield(advisory.Record{}, &advisory.BadRecord{Subject: subject, Reason: fmt.Sprint(reason), Name: p.Pkg.Name})
	}
	if shape != nil {
		return bad(fmt.Sprintf("package %d", index), shape)
	}
	for _, fixed := range slices.Sorted(maps.Keys(p.Pkg.Secfixes)) {
		subject := p.Pkg.Name + "/" + fixed
		var entries []string
		if err := json.Unmarshal(p.Pkg.Secfixes[fixed], &entries); err != nil {
			if !bad(subject, err) {
				return false
			}
			continue
		}
		for _, entry := range entries {
			ids, aliases := identifiers(entry)
			if len(ids) == 0 && !bad(subject, fmt.Sprintf("%q names no vulnerability", entry)) {
				return false
			}
			for _, id := range ids {
				if !yield(p.record(db, fixed, id, aliases), nil) {
					return false
				}
			}
		}
	}
	return true
}

func (p pkg) record(db Database, fixed, id string, aliases []string) advisory.Record {
	r := advisory.Range{Namespace: db.Namespace, Scheme: version.APK, Name: p.Pkg.Name, Fixed: fixed, Status: advisory.Fixed}
	if fixed == "0" {
		r.Fixed, r.Status = "", advisory.NotAffected
	}
	return advisory.Record{ID: id, Aliases: aliases, Link: db.Link(id), Affected: []advisory.Range{r}}
}

var (
	remark     = regexp.MustCompile(`\([^)]*\)`)
	cve        = regexp.MustCompile(`^CVE[-_](\d{4})-(\d{4,})`)
	identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:-]*\d[A-Za-z0-9_.:-]*$|^GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}$`) // one GHSA in 500 has no digit
)

// identifiers returns the vulnerabilities that an entry names, each once, and their aliases.
func identifiers(entry string) (ids, aliases []string) {
	for word := range strings.FieldsSeq(remark.ReplaceAllString(entry, " ")) {
		if m := cve.FindStringSubmatch(word); m != nil {
			if id := "CVE-" + m[1] + "-" + m[2]; !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		} else if identifier.MatchString(word) && !slices.Contains(aliases, word) {
			aliases = append(aliases, word)
		}
	}
	if len(ids) == 0 && len(aliases) > 0 {
		return aliases[:1], aliases[1:]
	}
	return ids, aliases
}
