package updater

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/alpine"
	"github.com/trawl-scanner/trawl/updater/amazon"
	"github.com/trawl-scanner/trawl/updater/azure"
	"github.com/trawl-scanner/trawl/updater/debian"
	"github.com/trawl-scanner/trawl/updater/epss"
	"github.com/trawl-scanner/trawl/updater/fetch"
	"github.com/trawl-scanner/trawl/updater/kev"
	"github.com/trawl-scanner/trawl/updater/oracle"
	"github.com/trawl-scanner/trawl/updater/osv"
	"github.com/trawl-scanner/trawl/updater/photon"
	"github.com/trawl-scanner/trawl/updater/redhat"
	"github.com/trawl-scanner/trawl/updater/rocky"
	"github.com/trawl-scanner/trawl/updater/suse"
	"github.com/trawl-scanner/trawl/updater/ubuntu"
	"github.com/trawl-scanner/trawl/updater/wolfi"
)

// source is an upstream: what it is, and which documents it has.
type source struct {
	advisory.Source
	// parser is the version of how the documents are understood here. Raise it when the same document would give other
	// records: what was read before is then read again, though it has not changed.
	parser int
	feeds  func(ctx context.Context, exists existence) ([]feed, error)
	// onDemand says that the source is read only when it is asked for by name.
	onDemand bool
}

// existence tells whether upstream has a document.
type existence func(ctx context.Context, address string) (bool, error)

// feed is one document of a source, or a set of documents with a protocol of their own, and how it is read: one of the
// functions is set.
type feed struct {
	url string
	// namespaces are what it speaks for, with the scheme of their versions. Empty means that only its content tells.
	namespaces map[string]version.Scheme
	// optional says that upstream may never have had the document.
	optional bool

	once    func(r io.Reader) advisory.Records            // from one end to the other
	several func(open opener) advisory.Records            // from its start, more than once
	zip     func(r io.ReaderAt, n int64) advisory.Records // here and there, of n bytes
	exploit func(r io.Reader) advisory.Exploitations      // it tells of exploitation
	next    func(ctx context.Context, get getter, cursor string, progress func(read, total int64)) (*step, error)
}

// getter gets documents as [fetch.Fetcher.Get] does.
type getter interface {
	Get(ctx context.Context, address, validator string, progress func(read, total int64)) (*fetch.Document, error)
}

// opener opens a document, inflated, at its start.
type opener = func() (io.ReadCloser, error)

// step is a part of a feed that is read by a protocol of its own, from a cursor on.
type step struct {
	records advisory.Records // nil: there is nothing new
	fetches bool             // reading the records gets documents
	whole   bool             // the records are all there is
	cursor  string           // for whoever takes the next step
	more    bool             // there is one to take at once
	close   func() error
}

// sources is the table of what is read. A new source is a package with a Parse function, and a row here.
var sources = []source{
	{Source: advisory.Source{
		Name: "alpine", Title: "Alpine Linux security database", URL: alpine.Address,
		Licence: "not stated", Cadence: 4 * time.Hour, Covers: []string{"alpine:*"},
	}, parser: 1, feeds: alpineFeeds},
	{Source: advisory.Source{
		Name: "amazon", Title: "Amazon Linux Security Center", URL: "https://alas.aws.amazon.com/",
		Licence: "not stated", Cadence: 6 * time.Hour, Covers: []string{"amzn:*"},
	}, parser: 1, feeds: each(amazon.Releases, amazonFeed)},
	{Source: advisory.Source{
		Name: "azure", Title: "Azure Linux vulnerability data", URL: "https://github.com/microsoft/AzureLinuxVulnerabilityData",
		Licence: "MIT", Cadence: 12 * time.Hour, Covers: []string{"azurelinux:*", "mariner:*"},
	}, parser: 1, feeds: each(azure.Feeds, azureFeed)},
	{Source: advisory.Source{
		Name: "debian", Title: "Debian security tracker", URL: "https://security-tracker.debian.org/tracker/",
		Licence: "MIT-style, see https://salsa.debian.org/security-tracker-team/security-tracker", Cadence: 2 * time.Hour, Covers: []string{"debian:*"},
	}, parser: 1, feeds: always(feed{url: debian.Address, once: debian.Parse})},
	{Source: advisory.Source{
		Name: "epss", Title: "Exploit Prediction Scoring System", URL: "https://www.first.org/epss/",
		Licence: "free with attribution to FIRST", Cadence: 24 * time.Hour,
	}, parser: 1, feeds: always(feed{url: epss.Address, exploit: epssScores})},
	{Source: advisory.Source{
		Name: "kev", Title: "CISA Known Exploited Vulnerabilities", URL: "https://www.cisa.gov/known-exploited-vulnerabilities-catalog",
		Licence: "public domain (CC0)", Cadence: 6 * time.Hour,
	}, parser: 1, feeds: always(feed{url: kev.Address, exploit: kevEntries})},
	{Source: advisory.Source{
		Name: "nvd", Title: "National Vulnerability Database", URL: "https://nvd.nist.gov/",
		Licence: "public domain", Cadence: 2 * time.Hour,
	}, parser: 1, feeds: nvdFeeds},
	{Source: advisory.Source{
		Name: "oracle", Title: "Oracle Linux OVAL", URL: oracle.Address,
		Licence: "not stated", Cadence: 12 * time.Hour, Covers: []string{"oracle:*"},
	}, parser: 1, feeds: each(oracle.Releases, oracleFeed)},
	{Source: advisory.Source{
		Name: "osv", Title: "OSV, for language ecosystems and AlmaLinux", URL: "https://osv.dev/",
		Licence: "per database, mostly CC-BY-4.0", Cadence: 6 * time.Hour, Covers: osvCovers(),
	}, parser: 1, feeds: each(osv.Ecosystems(), osvFeed)},
	{Source: advisory.Source{
		Name: "photon", Title: "Photon OS OVAL", URL: photon.Address,
		Licence: "not stated", Cadence: 24 * time.Hour, Covers: []string{"photon:*"},
	}, parser: 1, feeds: each(photon.Releases, photonFeed)},
	{Source: advisory.Source{
		Name: "redhat", Title: "Red Hat CSAF VEX", URL: redhat.Address,
		Licence: "CC-BY-4.0", Cadence: time.Hour, Covers: []string{"rhel:*"},
	}, parser: 1, feeds: always(feed{url: redhat.Address, next: redhatStep})},
	{Source: advisory.Source{
		Name: "rhsa", Title: "Red Hat OVAL, for sites that have no VEX", URL: "https://www.redhat.com/security/data/oval/",
		Licence: "CC-BY-4.0", Cadence: 12 * time.Hour, Covers: []string{"rhel:*"},
	}, parser: 1, feeds: rhsaFeeds, onDemand: true},
	{Source: advisory.Source{
		Name: "elsa", Title: "Oracle OVAL by year, for sites that have no documents of releases", URL: oracle.Address,
		Licence: "see oracle", Cadence: 12 * time.Hour, Covers: []string{"oracle:*"},
	}, parser: 1, feeds: elsaFeeds, onDemand: true},
	{Source: advisory.Source{
		Name: "rocky", Title: "Rocky Linux OVAL", URL: rocky.Address,
		Licence: "not stated", Cadence: 12 * time.Hour, Covers: []string{"rocky:*"},
	}, parser: 1, feeds: each(rocky.Releases, rockyFeed)},
	{Source: advisory.Source{
		Name: "suse", Title: "SUSE and openSUSE OVAL", URL: suse.Address,
		Licence: "CC-BY-NC-4.0", Cadence: 6 * time.Hour,
		Covers: []string{"sles:*", "opensuse:*", "opensuse-leap:*", "opensuse-tumbleweed"},
	}, parser: 1, feeds: each(suse.Products, suseFeed)},
	{Source: advisory.Source{
		Name: "ubuntu", Title: "Ubuntu OVAL", URL: ubuntu.Address,
		Licence: "GPL-3.0, as the documents say", Cadence: 4 * time.Hour, Covers: []string{"ubuntu:*"},
	}, parser: 1, feeds: ubuntuFeeds},
	{Source: advisory.Source{
		Name: "wolfi", Title: "Wolfi and Chainguard security databases", URL: "https://github.com/wolfi-dev/advisories",
		Licence: "Apache-2.0", Cadence: 4 * time.Hour, Covers: []string{"wolfi", "chainguard"},
	}, parser: 1, feeds: each(wolfi.Databases, wolfiFeed)},
}

// Sources describes what this version of the program reads unless told otherwise.
func Sources() []advisory.Source {
	chosen, _ := find(nil) // no name is no unknown name
	return describe(chosen)
}

func describe(list []source) []advisory.Source {
	out := make([]advisory.Source, len(list))
	for i, s := range list {
		out[i] = s.Source
	}
	return out
}

// CheckNames returns an error that names the first of these that is no source.
func CheckNames(names []string) error {
	_, err := find(names)
	return err
}

// find returns the sources of these names; for none, all that are not on demand.
func find(names []string) ([]source, error) {
	var out []source
	if len(names) == 0 {
		for _, s := range sources {
			if !s.onDemand {
				out = append(out, s)
			}
		}
		return out, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(sources, func(s source) bool { return s.Name == name })
		if i < 0 {
			var known []string
			for _, s := range sources {
				known = append(known, s.Name)
			}
			return nil, fmt.Errorf("source %q: want one of %s", name, strings.Join(known, ", "))
		}
		out = append(out, sources[i])
	}
	return out, nil
}

// covers reports whether the source may speak for one of the namespaces.
func (s source) covers(namespaces []string) bool {
	return slices.ContainsFunc(s.Covers, func(pattern string) bool {
		return slices.ContainsFunc(namespaces, func(namespace string) bool {
			ok, err := path.Match(pattern, namespace)
			return ok && err == nil
		})
	})
}

// speaksFor reports whether the document may speak for one of the namespaces.
func (f feed) speaksFor(namespaces []string) bool {
	return len(f.namespaces) == 0 || slices.ContainsFunc(namespaces, func(namespace string) bool {
		_, ok := f.namespaces[namespace]
		return ok
	})
}
