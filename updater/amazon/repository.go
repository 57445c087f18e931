package amazon

import (
	"bufio"
	"errors"
	"io"
	"net/url"
	"path"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/xmlstream"
)

// Release is one release of Amazon Linux.
type Release struct {
	Namespace string // "amzn:2023"
	// Mirrors is the address of the list of mirrors. It stays, while those of the mirrors change with each update.
	Mirrors string
}

// Releases are the releases that have advisories. The architectures have the same, so that of one serves.
var Releases = []Release{
	{"amzn:1", "http://repo.us-west-2.amazonaws.com/2018.03/updates/x86_64/mirror.list"},
	{"amzn:2", "https://cdn.amazonlinux.com/2/core/latest/x86_64/mirror.list"},
	{"amzn:2023", "https://cdn.amazonlinux.com/al2023/core/mirrors/latest/x86_64/mirror.list"},
}

// Index is where the index of a repository is, below each of its mirrors.
const Index = "repodata/repomd.xml"

// Bounds of the two small documents.
const (
	maxListBytes  = 1 << 20
	maxIndexBytes = 16 << 20
)

// ParseMirrors reads a list of mirrors and returns their roots, the preferred first, at least one. What is below a
// root is found with [Below].
func ParseMirrors(r io.Reader) (roots []string, err error) {
	const subject = "list of mirrors"
	lines := bufio.NewScanner(io.LimitReader(r, maxListBytes))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		u, err := url.Parse(line)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
			return nil, fault.Newf(fault.Corrupt, "parse", subject, "%.100q is no address of a mirror", line)
		}
		roots = append(roots, line)
	}
	if err := lines.Err(); err != nil {
		return nil, fault.New(fault.Corrupt, "parse", subject, err)
	}
	if len(roots) == 0 {
		return nil, fault.Newf(fault.Corrupt, "parse", subject, "it names none")
	}
	return roots, nil
}

// Below returns the address of a document of a repository.
func Below(root, document string) string {
	return strings.TrimSuffix(root, "/") + path.Join("/", document)
}

// Document is a document of a repository.
type Document struct {
	Path   string // below the mirror: "repodata/updateinfo.xml.gz"
	SHA256 string // of the document as it is transferred, in hexadecimal; "" if the index has another kind of checksum
}

// ParseIndex reads the index of a repository and returns the document that has the advisories. There is none where it
// is a fault of kind NotFound.
func ParseIndex(r io.Reader) (Document, error) {
	const subject = "index of a repository"
	limited := &io.LimitedReader{R: r, N: maxIndexBytes + 1}
	w := xmlstream.New(limited)
	var found *Document
	err := w.Document("repomd", func(xmlstream.Element) error {
		return w.Children(func(e xmlstream.Element) error {
			if e.Name != "data" || e.Attribute("type") != "updateinfo" {
				return nil
			}
			found = &Document{}
			return w.Children(func(e xmlstream.Element) error {
				switch {
				case e.Name == "location":
					found.Path = strings.TrimPrefix(path.Join("/", e.Attribute("href")), "/")
				case e.Name == "checksum" && e.Attribute("type") == "sha256":
					sum, err := w.Text()
					found.SHA256 = strings.TrimSpace(sum)
					return err
				}
				return nil
			})
		})
	})
	if limited.N == 0 {
		err = limits.Check("size of the index", "bytes", maxIndexBytes, maxIndexBytes+1)
	}
	switch {
	case err != nil:
		return Document{}, fault.Wrap("parse", subject, err)
	case found == nil:
		return Document{}, fault.Newf(fault.NotFound, "parse", subject, "it has no advisories")
	case found.Path == "":
		return Document{}, fault.New(fault.Corrupt, "parse", subject, errors.New("the advisories have no place"))
	}
	return *found, nil
}
