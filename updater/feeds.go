package updater

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/alpine"
	"github.com/trawl-scanner/trawl/updater/amazon"
	"github.com/trawl-scanner/trawl/updater/azure"
	"github.com/trawl-scanner/trawl/updater/epss"
	"github.com/trawl-scanner/trawl/updater/kev"
	"github.com/trawl-scanner/trawl/updater/nvd"
	"github.com/trawl-scanner/trawl/updater/oracle"
	"github.com/trawl-scanner/trawl/updater/osv"
	"github.com/trawl-scanner/trawl/updater/photon"
	"github.com/trawl-scanner/trawl/updater/redhat"
	"github.com/trawl-scanner/trawl/updater/rhsa"
	"github.com/trawl-scanner/trawl/updater/rocky"
	"github.com/trawl-scanner/trawl/updater/suse"
	"github.com/trawl-scanner/trawl/updater/ubuntu"
	"github.com/trawl-scanner/trawl/updater/wolfi"
)

// always lists documents that are always there.
func always(feeds ...feed) func(context.Context, existence) ([]feed, error) {
	return func(context.Context, existence) ([]feed, error) { return feeds, nil }
}

// each lists a document for each of a list, of which upstream may not have all.
func each[T any](list []T, document func(T) feed) func(context.Context, existence) ([]feed, error) {
	var feeds []feed
	for _, t := range list {
		f := document(t)
		f.optional = true
		feeds = append(feeds, f)
	}
	return always(feeds...)
}

// speaks is the namespaces of a document that speaks for one.
func speaks(namespace string, scheme version.Scheme) map[string]version.Scheme {
	return map[string]version.Scheme{namespace: scheme}
}

func alpineFeeds(ctx context.Context, exists existence) ([]feed, error) {
	releases, err := alpine.Releases(func(folder string) (bool, error) {
		return exists(ctx, alpine.Release{Folder: folder}.URL("main"))
	})
	var out []feed
	for _, release := range releases {
		for _, repository := range alpine.Repositories {
			out = append(out, feed{
				url: release.URL(repository), namespaces: speaks(release.Namespace, version.APK), optional: true,
				once: func(r io.Reader) advisory.Records { return alpine.Parse(r, release.Namespace) },
			})
		}
	}
	return out, err
}

// ubuntuFeeds lists for each release the document of vulnerabilities, and that of notices only where there is no other:
// both would tell the same twice.
func ubuntuFeeds(ctx context.Context, exists existence) ([]feed, error) {
	var out []feed
	var failed []error
	for _, codename := range ubuntu.Releases {
		vulnerabilities, notices, namespace := ubuntu.Feed(codename)
		ok, err := exists(ctx, vulnerabilities)
		if err != nil {
			failed = append(failed, err)
		}
		f := feed{url: vulnerabilities, several: func(open opener) advisory.Records { return ubuntu.Parse(open) }}
		if err == nil && !ok {
			f = feed{url: notices, several: func(open opener) advisory.Records { return ubuntu.ParseNotices(open, nil) }}
		}
		f.namespaces, f.optional = speaks(namespace, version.Dpkg), true
		out = append(out, f)
	}
	return out, errors.Join(failed...)
}

func wolfiFeed(db wolfi.Database) feed {
	return feed{
		url: db.Address, namespaces: speaks(db.Namespace, version.APK),
		once: func(r io.Reader) advisory.Records { return wolfi.Parse(r, db.Namespace) },
	}
}

func oracleFeed(release string) feed {
	address, namespace := oracle.Feed(release)
	return feed{
		url: address, namespaces: speaks(namespace, version.RPM),
		several: func(open opener) advisory.Records { return oracle.Parse(open, namespace) },
	}
}

// elsaFeeds lists the documents of single years. What they say of releases stands in those of releases too, so this is for
// sites that have nothing else.
func elsaFeeds(ctx context.Context, exists existence) ([]feed, error) {
	return each(oracle.Years(time.Now().Year()), func(address string) feed {
		return feed{url: address, several: func(open opener) advisory.Records { return oracle.Parse(open, "") }}
	})(ctx, exists)
}

// rockyFeed leaves it to the document to tell what it speaks for: one has at times been a copy of the other.
func rockyFeed(release string) feed {
	address, namespace := rocky.Feed(release)
	return feed{url: address, several: func(open opener) advisory.Records { return rocky.Parse(open, namespace) }}
}

func suseFeed(product string) feed {
	return feed{url: suse.Feed(product), several: func(open opener) advisory.Records { return suse.Parse(open, "") }}
}

func photonFeed(release string) feed {
	address, namespace := photon.Feed(release)
	return feed{
		url: address, namespaces: speaks(namespace, version.RPM),
		several: func(open opener) advisory.Records { return photon.Parse(open, namespace) },
	}
}

func azureFeed(document azure.Feed) feed {
	return feed{
		url: document.Address, namespaces: speaks(document.Namespace, version.RPM),
		several: func(open opener) advisory.Records { return azure.Parse(open, document.Namespace) },
	}
}

func osvFeed(ecosystem string) feed {
	return feed{
		url: osv.Address(ecosystem),
		zip: func(r io.ReaderAt, n int64) advisory.Records { return osv.Parse(r, n, ecosystem) },
	}
}

// rhsaFeeds lists for each release the first of its documents that there is: it says all that the others do.
func rhsaFeeds(ctx context.Context, exists existence) ([]feed, error) {
	var out []feed
	for _, release := range rhsa.Releases {
		addresses, namespace := rhsa.Feeds(release)
		for _, address := range addresses {
			ok, err := exists(ctx, address)
			if err != nil {
				return out, err
			}
			if ok {
				out = append(out, feed{
					url: address, namespaces: speaks(namespace, version.RPM),
					several: func(open opener) advisory.Records { return rhsa.Parse(open, namespace) },
				})
				break
			}
		}
	}
	return out, nil
}

// nvdFeeds lists the years, and last what changed lately, so that this prevails. The document of a year that has just
// begun may not be there yet.
func nvdFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for year := nvd.FirstYear; year <= time.Now().UTC().Year(); year++ {
		out = append(out, feed{url: nvd.Year(year), optional: true, once: nvd.Parse})
	}
	return append(out, feed{url: nvd.Modified, optional: true, once: nvd.Parse}), nil
}

func osvCovers() []string {
	var out []string
	for _, ecosystem := range osv.Ecosystems() {
		out = append(out, osv.Namespaces(ecosystem))
	}
	return out
}

func kevEntries(r io.Reader) advisory.Exploitations {
	return func(yield func(advisory.Exploitation, error) bool) {
		for entry, err := range kev.Parse(r) {
			out := advisory.Exploitation{CVE: entry.CVE, Known: &advisory.KnownExploited{
				Added: entry.Added, Due: entry.Due, Ransomware: entry.Ransomware, Name: entry.Name, Action: entry.Action,
			}}
			if !yield(out, err) {
				return
			}
		}
	}
}

func epssScores(r io.Reader) advisory.Exploitations {
	return func(yield func(advisory.Exploitation, error) bool) {
		day, err := epss.Parse(r)
		if err != nil {
			yield(advisory.Exploitation{}, err)
			return
		}
		for score, err := range day.Scores {
			out := advisory.Exploitation{CVE: score.CVE, Score: &advisory.EPSS{Probability: score.Probability, Percentile: score.Percentile}}
			if !yield(out, err) {
				return
			}
		}
	}
}

func redhatStep(ctx context.Context, get getter, cursor string, progress func(read, total int64)) (*step, error) {
	next, err := redhat.Next(ctx, get, cursor, nil, progress)
	if err != nil {
		return nil, err
	}
	return &step{records: next.Records, fetches: !next.Whole, whole: next.Whole, cursor: next.State, more: next.More, close: next.Close}, nil
}

// amazonFeed is found by the list of mirrors of a release: this stays, while the address of the document changes with
// each update.
func amazonFeed(release amazon.Release) feed {
	return feed{
		url: release.Mirrors, namespaces: speaks(release.Namespace, version.RPM),
		next: func(ctx context.Context, get getter, cursor string, progress func(read, total int64)) (*step, error) {
			return amazonStep(ctx, get, release, cursor, progress)
		},
	}
}

// amazonStep goes from the list of mirrors to the index of the repository to its advisories. The cursor is the checksum
// of these.
func amazonStep(ctx context.Context, get getter, release amazon.Release, cursor string, progress func(read, total int64)) (*step, error) {
	nothing := func() error { return nil }
	roots, err := readSmall(ctx, get, release.Mirrors, amazon.ParseMirrors)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, root := range roots[:min(3, len(roots))] {
		document, err := readSmall(ctx, get, amazon.Below(root, amazon.Index), amazon.ParseIndex)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if document.SHA256 != "" && document.SHA256 == cursor {
			return &step{cursor: cursor, close: nothing}, nil
		}
		address := amazon.Below(root, document.Path)
		content, err := get.Get(ctx, address, "", progress)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		sum := hex.EncodeToString(content.Checksum)
		if document.SHA256 != "" && sum != document.SHA256 {
			failed = append(failed, content.Close(), fault.Newf(fault.Corrupt, "fetch", address, "its checksum is not the one that the index has"))
			continue
		}
		open := func() (io.ReadCloser, error) { return content.Open(progress) }
		records := readOnce(open, func(r io.Reader) advisory.Records { return amazon.Parse(r, release.Namespace) })
		return &step{records: records, whole: true, cursor: sum, close: content.Close}, nil
	}
	return nil, errors.Join(failed...)
}

// readSmall fetches a document and reads it.
func readSmall[T any](ctx context.Context, get getter, address string, parse func(io.Reader) (T, error)) (out T, err error) {
	document, err := get.Get(ctx, address, "", nil)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, document.Close()) }()
	r, err := document.Open(nil)
	if err != nil {
		return out, err
	}
	defer r.Close()
	return parse(r)
}

// readOnce opens a document when its records are asked for.
func readOnce(open opener, parse func(io.Reader) advisory.Records) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		r, err := open()
		if err != nil {
			yield(advisory.Record{}, err)
			return
		}
		defer r.Close()
		parse(r)(yield)
	}
}
