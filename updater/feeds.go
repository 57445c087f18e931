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

func wolfiFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, db := range wolfi.Databases {
		out = append(out, feed{
			url: db.Address, namespaces: speaks(db.Namespace, version.APK), optional: true,
			once: func(r io.Reader) advisory.Records { return wolfi.Parse(r, db.Namespace) },
		})
	}
	return out, nil
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

func oracleFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, release := range oracle.Releases {
		address, namespace := oracle.Feed(release)
		out = append(out, feed{
			url: address, namespaces: speaks(namespace, version.RPM), optional: true,
			several: func(open opener) advisory.Records { return oracle.Parse(open, namespace) },
		})
	}
	return out, nil
}

// elsaFeeds lists the documents of single years that there are. What they say of releases stands in those of releases
// too, so this is for sites that have nothing else.
func elsaFeeds(ctx context.Context, exists existence) ([]feed, error) {
	var out []feed
	for _, address := range oracle.Years(time.Now().Year()) {
		ok, err := exists(ctx, address)
		if err != nil {
			return out, err
		}
		if ok {
			out = append(out, feed{url: address, several: func(open opener) advisory.Records { return oracle.Parse(open, "") }})
		}
	}
	return out, nil
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

// rockyFeeds leaves it to the documents to tell what they speak for: one has at times been a copy of the other.
func rockyFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, release := range rocky.Releases {
		address, namespace := rocky.Feed(release)
		out = append(out, feed{
			url: address, optional: true,
			several: func(open opener) advisory.Records { return rocky.Parse(open, namespace) },
		})
	}
	return out, nil
}

func suseFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, product := range suse.Products {
		out = append(out, feed{
			url: suse.Feed(product), optional: true,
			several: func(open opener) advisory.Records { return suse.Parse(open, "") },
		})
	}
	return out, nil
}

func photonFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, release := range photon.Releases {
		address, namespace := photon.Feed(release)
		out = append(out, feed{
			url: address, namespaces: speaks(namespace, version.RPM), optional: true,
			several: func(open opener) advisory.Records { return photon.Parse(open, namespace) },
		})
	}
	return out, nil
}

func azureFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, document := range azure.Feeds {
		out = append(out, feed{
			url: document.Address, namespaces: speaks(document.Namespace, version.RPM), optional: true,
			several: func(open opener) advisory.Records { return azure.Parse(open, document.Namespace) },
		})
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

func osvFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, ecosystem := range osv.Ecosystems() {
		out = append(out, feed{
			url: osv.Address(ecosystem), optional: true,
			zip: func(r io.ReaderAt, n int64) advisory.Records { return osv.Parse(r, n, ecosystem) },
		})
	}
	return out, nil
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

// amazonFeeds lists the releases by their lists of mirrors: these stay, while the addresses of the documents change with
// each update.
func amazonFeeds(context.Context, existence) ([]feed, error) {
	var out []feed
	for _, release := range amazon.Releases {
		out = append(out, feed{
			url: release.Mirrors, namespaces: speaks(release.Namespace, version.RPM), optional: true,
			next: func(ctx context.Context, get getter, cursor string, progress func(read, total int64)) (*step, error) {
				return amazonStep(ctx, get, release, cursor, progress)
			},
		})
	}
	return out, nil
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
