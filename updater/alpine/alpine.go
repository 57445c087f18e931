// Package alpine reads the security database of Alpine Linux, https://secdb.alpinelinux.org/.
//
// # Format
//
// A document for each release and repository: an object whose "packages" lists source packages, each
// with "secfixes", an object of the versions that fixed something and the identifiers of what they
// fixed. Version "0" says that the package never was affected. The format has no other documentation
// than https://gitlab.alpinelinux.org/alpine/infra/docker/secdb.
//
// An entry is written by hand in a package's build recipe. Most are one CVE identifier; some name
// several, the advisories of the package's own project, or carry a remark. Each CVE of an entry becomes
// a record, and the other identifiers its aliases.
package alpine

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

// Address is the root of the database.
const Address = "https://secdb.alpinelinux.org/"

// The releases that the database is known to hold: v3.2 to v3.newest and edge. The updater looks for
// ones that came since.
const (
	oldest = 2
	newest = 22
)

// Release is one release of Alpine in the database.
type Release struct {
	Folder    string // "v3.20", "edge"
	Namespace string // "alpine:3.20", "alpine:edge"
}

// Repositories are the documents of a release. "community" came with v3.3.
var Repositories = []string{"main", "community"}

// Releases returns the releases that the database is known to hold, and those after them for which
// exists reports true.
func Releases(exists func(folder string) (bool, error)) ([]Release, error) {
	var out []Release
	for n := oldest; ; n++ {
		folder := fmt.Sprintf("v3.%d", n)
		if n > newest {
			if ok, err := exists(folder); err != nil || !ok {
				return append(out, Release{"edge", "alpine:edge"}), err
			}
		}
		out = append(out, Release{folder, "alpine:" + folder[1:]})
	}
}

// URL returns the address of a document.
func (r Release) URL(repository string) string {
	return Address + r.Folder + "/" + repository + ".json"
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

// Parse reads one document, which speaks for namespace. A record is one identifier fixed by one version
// of one package; memory is bounded by the largest package.
func Parse(r io.Reader, namespace string) advisory.Records {
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
				if !p.emit(namespace, i, shape, yield) {
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
			yield(advisory.Record{}, fault.New(fault.Corrupt, "parse", "secdb of "+namespace, err))
		}
	}
}

// emit yields the records of one package, unless shape says that it could not be read. It reports
// whether the consumer wants more.
func (p pkg) emit(namespace string, index int, shape error, yield func(advisory.Record, error) bool) bool {
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
				if !yield(p.record(namespace, fixed, id, aliases), nil) {
					return false
				}
			}
		}
	}
	return true
}

func (p pkg) record(namespace, fixed, id string, aliases []string) advisory.Record {
	r := advisory.Range{Namespace: namespace, Scheme: version.APK, Name: p.Pkg.Name, Fixed: fixed, Status: advisory.Fixed}
	if fixed == "0" {
		r.Fixed, r.Status = "", advisory.NotAffected
	}
	link := "https://security.alpinelinux.org/vuln/" + id
	return advisory.Record{ID: id, Aliases: aliases, Link: link, Affected: []advisory.Range{r}}
}

var (
	remark     = regexp.MustCompile(`\([^)]*\)`)
	cve        = regexp.MustCompile(`^CVE[-_](\d{4})-(\d{4,})`)
	identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:-]*\d[A-Za-z0-9_.:-]*$`)
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
