// Package redhat reads Red Hat's security data: the CSAF VEX documents, one for each vulnerability that Red Hat ever
// looked at (https://security.access.redhat.com/data/csaf/v2/vex/), by their own protocol of an archive and the
// changes since; and the map of repositories to products. How Red Hat writes the documents is told at
// https://redhatproductsecurity.github.io/security-data-guidelines/csaf-vex/.
//
// # What becomes a range
//
// Statements about rpms of the mainstream of Red Hat Enterprise Linux, which are applied to the namespaces "rhel:5" to
// "rhel:10". Architectures are not told apart: all have the same versions. Left out, and counted in a [Census], are:
//
//   - Minor releases under extended support (EUS, AUS, E4S, TUS). Their versions are in an order of their own, and
//     nothing in an image's package database tells that it follows one. Applied to the mainstream they would be wrong.
//     An image of such a release is judged by the mainstream, whose fixed versions are higher: it may be told
//     too much, but for what the mainstream never had.
//   - Layered products (OpenShift, Satellite, Software Collections, …), which have packages of the same names as
//     the distribution in other versions. Which of them an image has installed is told by its content sets alone.
//   - Container images, Maven artifacts, and statements about a product as a whole.
//
// # Source packages
//
// For what is not fixed most documents name the source package, and the newest do for everything. A range that
// is about a source package has a name that ends in [SourceSuffix], "openssl.src": it is about all packages that are
// built from it, and its versions are those of the source. A modular package is named "MODULE:STREAM/NAME".
package redhat

import (
	"archive/tar"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/csaf"
)

// Address is the root of the documents.
const Address = "https://security.access.redhat.com/data/csaf/v2/vex/"

// Parse reads an archive of documents: a tar file with an entry for each, at YEAR/cve-YEAR-NUMBER.json. A record is
// one document; memory is bounded by the largest. A document that cannot be read is a bad record. The census gets
// the counts as the records are read; nil is for who does not care.
func Parse(r io.Reader, census *Census) advisory.Records { return archive(r, census, nil) }

// archive is Parse without the documents for which skip, unless nil, reports true of their path.
func archive(r io.Reader, census *Census, skip func(path string) bool) advisory.Records {
	if census == nil {
		census = new(Census)
	}
	return func(yield func(advisory.Record, error) bool) {
		entries := tar.NewReader(r)
		empty := true
		for {
			entry, err := entries.Next()
			if errors.Is(err, io.EOF) {
				if empty {
					yield(advisory.Record{}, fault.Newf(fault.Corrupt, "read", "archive of VEX documents", "it holds no document"))
				}
				return
			}
			if err != nil {
				yield(advisory.Record{}, broken(err))
				return
			}
			if entry.Typeflag != tar.TypeReg || !strings.HasSuffix(entry.Name, ".json") {
				continue
			}
			empty = false
			if at := path.Clean(entry.Name); skip != nil && skip(at) {
				continue
			}
			if more := readDocument(entries, entry.Name, census, yield); !more {
				return
			}
		}
	}
}

// broken is the error that ends an archive.
func broken(err error) error {
	if fault.KindOf(err) == fault.Unknown {
		return fault.New(fault.Corrupt, "read", "archive of VEX documents", err)
	}
	return fault.Wrap("read", "archive of VEX documents", err)
}

// readDocument yields the records of one document, or what is wrong with it. It reports whether the consumer
// wants more. Bytes that cannot be had look like a bad document here, and end the archive at its next entry.
func readDocument(r io.Reader, name string, census *Census, yield func(advisory.Record, error) bool) bool {
	d, err := csaf.Read(r)
	if err != nil {
		return yield(advisory.Record{}, &advisory.BadRecord{Subject: name, Reason: err.Error(), ID: documentID(path.Clean(name))})
	}
	if d.Status == "deleted" { // it is there to say that it is gone
		census.Documents++
		return yield(advisory.Record{ID: d.ID, Modified: d.Modified}, nil)
	}
	return census.document(d, yield)
}
