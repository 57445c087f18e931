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
	"github.com/trawl-scanner/trawl/updater/debian"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// source is an upstream: what it is, and either which documents it has and how one is read, or the protocol by which it
// is read in steps.
type source struct {
	advisory.Source
	// feeds lists the documents; exists tells whether upstream has one that is not known to be there.
	feeds func(ctx context.Context, exists existence) ([]feed, error)
	// parse reads a document. It may open it several times.
	parse func(open opener, f feed) advisory.Records
	// next returns the next step towards what upstream publishes, for somebody who has taken those before up to the
	// cursor; "" is nobody. The address stands for all documents.
	next    func(ctx context.Context, get *fetch.Fetcher, cursor string, progress func(read, total int64)) (*step, error)
	address string
}

// existence tells whether upstream has a document.
type existence func(ctx context.Context, address string) (bool, error)

// opener opens a document, inflated, at its start.
type opener func() (io.ReadCloser, error)

// step is a part of a source that is read by a protocol of its own.
type step struct {
	records advisory.Records // nil: there is nothing new
	whole   bool             // the records are all there is
	cursor  string           // for whoever takes the next step
	more    bool             // there is one to take at once
	close   func() error
}

// feed is one document of a source.
type feed struct {
	url string
	// namespaces are what the document speaks for, with the scheme of their versions. Empty means that
	// only the document itself tells.
	namespaces map[string]version.Scheme
	// optional says that upstream may never have had the document.
	optional bool
}

// sources is the table of what is read. A new source is a package with a Parse function, and a row here.
var sources = []source{
	{
		Source: advisory.Source{
			Name:    "alpine",
			Title:   "Alpine Linux security database",
			URL:     alpine.Address,
			Licence: "not stated",
			Cadence: 4 * time.Hour,
			Covers:  []string{"alpine:*"},
		},
		feeds: alpineFeeds,
		parse: once(func(r io.Reader, f feed) advisory.Records { return alpine.Parse(r, f.only()) }),
	},
	{
		Source: advisory.Source{
			Name:    "debian",
			Title:   "Debian security tracker",
			URL:     "https://security-tracker.debian.org/tracker/",
			Licence: "MIT-style, see https://salsa.debian.org/security-tracker-team/security-tracker",
			Cadence: 2 * time.Hour,
			Covers:  []string{"debian:*"},
		},
		feeds: fixed(feed{url: debian.Address}),
		parse: once(func(r io.Reader, _ feed) advisory.Records { return debian.Parse(r) }),
	},
}

// Sources describes what this version of the program can read.
func Sources() []advisory.Source {
	out := make([]advisory.Source, len(sources))
	for i, s := range sources {
		out[i] = s.Source
	}
	return out
}

// CheckNames returns an error that names the first of these that is no source.
func CheckNames(names []string) error {
	_, err := find(names)
	return err
}

// find returns the sources of these names, all for none.
func find(names []string) ([]source, error) {
	if len(names) == 0 {
		return sources, nil
	}
	var out []source
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

// only returns the namespace of a document that speaks for one.
func (f feed) only() string {
	for namespace := range f.namespaces {
		return namespace
	}
	return ""
}

// once is for documents that are read from one end to the other.
func once(parse func(r io.Reader, f feed) advisory.Records) func(opener, feed) advisory.Records {
	return func(open opener, f feed) advisory.Records {
		return func(yield func(advisory.Record, error) bool) {
			r, err := open()
			if err != nil {
				yield(advisory.Record{}, err)
				return
			}
			defer r.Close()
			parse(r, f)(yield)
		}
	}
}

// fixed lists documents that are always there.
func fixed(feeds ...feed) func(context.Context, existence) ([]feed, error) {
	return func(context.Context, existence) ([]feed, error) { return feeds, nil }
}

func alpineFeeds(ctx context.Context, exists existence) ([]feed, error) {
	releases, err := alpine.Releases(func(folder string) (bool, error) {
		return exists(ctx, alpine.Release{Folder: folder}.URL("main"))
	})
	var out []feed
	for _, release := range releases {
		for _, repository := range alpine.Repositories {
			out = append(out, feed{
				url:        release.URL(repository),
				namespaces: map[string]version.Scheme{release.Namespace: version.APK},
				optional:   true,
			})
		}
	}
	return out, err
}
