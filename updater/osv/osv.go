// Package osv reads exports of OSV, https://osv.dev: all advisories about the packages of one ecosystem, such as
// npm or PyPI, in one zip file.
//
// # Format
//
// The file has an entry for each advisory, a JSON document of the OSV schema, https://ossf.github.io/osv-schema/. The
// documents are read by the rules of version 1.7, which those of older versions follow too. An advisory may be about
// packages of several ecosystems; it then stands in the export of each, and each export speaks for its own alone.
//
// # What becomes a range
//
// A range of versions in OSV is a list of events: introduced, fixed, last_affected, limit. It becomes a range here for
// each stretch between an event that begins to be affected and the next that ends it, in the order of the ecosystem.
// Versions that are listed one by one become ranges of one version each as far as no stretch has them; listed ones
// that are no versions of the ecosystem are left out beside stretches: a release of such a version cannot be compared with
// any range, and so is undecided in any case. Ranges of Git commits say nothing about released packages.
//
// What is withdrawn becomes a record without ranges.
package osv

import (
	"archive/zip"
	"errors"
	"io"
	"net/url"
	"path"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/jsonstream"
)

// Address returns where the export of an ecosystem is published.
func Address(ecosystem string) string {
	return "https://osv-vulnerabilities.storage.googleapis.com/" + url.PathEscape(ecosystem) + "/all.zip"
}

// Bounds of an export. The largest real ones, of npm, have some 250,000 documents of 5 KiB; the largest documents have
// some MiB.
const (
	maxDocuments     = 4_000_000
	maxDocumentBytes = 64 << 20
)

// Parse reads the export of an ecosystem, which is one of [Ecosystems], from the zip file of the given size in r. A
// record is one advisory; memory is bounded by the largest, and by the directory of the file, some 300 bytes for each.
// Documents that cannot be read are bad records.
func Parse(r io.ReaderAt, size int64, ecosystem string) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		if err := parse(r, size, ecosystem, yield); err != nil {
			yield(advisory.Record{}, fault.Wrap("read", "OSV export of "+ecosystem, err))
		}
	}
}

// parse returns what ends the records early; nil if the consumer did.
func parse(r io.ReaderAt, size int64, name string, yield func(advisory.Record, error) bool) error {
	e, ok := ecosystems[name]
	if !ok {
		return fault.Newf(fault.Unsupported, "look up", name, "the ecosystem is not known")
	}
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return corrupt("open", "zip file", err)
	}
	if err := limits.Check("documents", "documents", maxDocuments, int64(len(archive.File))); err != nil {
		return err
	}
	documents := 0
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, ".json") {
			continue
		}
		documents++
		var d document
		var more bool
		if err := read(file, &d); err != nil {
			id := strings.TrimSuffix(path.Base(file.Name), ".json")
			more = yield(advisory.Record{}, &advisory.BadRecord{Subject: file.Name, Reason: err.Error(), ID: id})
		} else {
			more = d.emit(e, yield)
		}
		if !more {
			return nil
		}
	}
	if documents == 0 {
		return fault.Newf(fault.Corrupt, "read", "zip file", "it holds no document")
	}
	return nil
}

// corrupt says that bytes are not what they should be, unless they could not be had.
func corrupt(op, subject string, err error) error {
	kind := fault.KindOf(err)
	if kind == fault.Unknown {
		kind = fault.Corrupt
	}
	return fault.New(kind, op, subject, err)
}

// read reads one document. What it says of its size is not believed.
func read(file *zip.File, d *document) error {
	content, err := file.Open()
	if err != nil {
		return err
	}
	bounded := &io.LimitedReader{R: content, N: maxDocumentBytes + 1}
	w := jsonstream.New(bounded)
	shape, broken := w.Value(d)
	err = errors.Join(shape, broken)
	if err == nil {
		err = w.End() // where the checksum is compared
	}
	if limit := limits.Check("size of the document", "bytes", maxDocumentBytes, maxDocumentBytes+1-bounded.N); limit != nil {
		err = limit
	}
	return errors.Join(err, content.Close())
}
