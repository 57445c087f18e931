// Package wolfi knows the security databases of Wolfi and of Chainguard, which are in the format of package secdb.
// Both are rolling distributions: a database has one document, and a namespace without version.
//
// Chainguard calls the format deprecated in favor of OSV documents of the same content
// (https://github.com/chainguard-dev/vulnerability-scanner-support); it goes on publishing both.
package wolfi

import (
	"io"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/secdb"
)

// Database is one document.
type Database struct {
	Address   string
	Namespace string
}

// Databases are the documents that are known. Images of Chainguard have packages of all their repositories.
var Databases = []Database{
	{"https://packages.wolfi.dev/os/security.json", "wolfi"},
	{"https://packages.cgr.dev/chainguard/security.json", "chainguard"},
	{"https://packages.cgr.dev/extras/security.json", "chainguard"},
}

// Parse reads one document, which speaks for namespace.
func Parse(r io.Reader, namespace string) advisory.Records {
	return secdb.Parse(r, secdb.Database{Namespace: namespace, Link: link})
}

// link returns the page about a vulnerability of whoever named it.
func link(id string) string {
	switch {
	case strings.HasPrefix(id, "GHSA-"):
		return "https://github.com/advisories/" + id
	case strings.HasPrefix(id, "CGA-"):
		return "https://images.chainguard.dev/security/" + id
	}
	return "https://www.cve.org/CVERecord?id=" + id
}
