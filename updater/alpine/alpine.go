// Package alpine knows the security database of Alpine Linux, https://secdb.alpinelinux.org/: a document for
// each release and repository, in the format of package secdb.
package alpine

import (
	"fmt"
	"io"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/secdb"
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

// Parse reads one document, which speaks for namespace.
func Parse(r io.Reader, namespace string) advisory.Records {
	return secdb.Parse(r, secdb.Database{
		Namespace: namespace,
		Link:      func(id string) string { return "https://security.alpinelinux.org/vuln/" + id },
	})
}
