// Package ovaltest provides what the tests of sources that publish OVAL have in common, beside package feedtest: a
// small document held in every way that a document can be, and real ones held against golden tables.
package ovaltest

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/feedtest"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// Parser reads a document.
type Parser func(open oval.Opener) advisory.Records

// Open returns what opens a document that is held in memory.
func Open(document []byte) oval.Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(document)), nil }
}

// Golden reads a document, which has at least two records, and holds what it says against the golden file beside
// it. It also breaks the document in several ways, each of which has to be found.
func Golden(t *testing.T, name string, parse Parser) {
	t.Helper()
	document, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	feedtest.Golden(t, strings.TrimSuffix(name, path.Ext(name))+".golden", feedtest.Text(parse(Open(document))))
	for _, violation := range Check(parse(Open(document))) {
		t.Error(violation)
	}
	for what, broken := range map[string][]byte{
		"empty":                nil,
		"an error page":        []byte("<html><body>503</body></html>"),
		"cut in the middle":    document[:len(document)/2],
		"cut at the end":       document[:len(document)-20],
		"broken in the middle": bytes.Replace(document, []byte("</title>"), []byte("</titel>"), 1),
		"an entity bomb": append([]byte(`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>`),
			bytes.TrimPrefix(document, []byte(`<?xml version="1.0" encoding="UTF-8"?>`))...),
	} {
		var last error
		for _, err := range parse(Open(broken)) {
			last = err
		}
		if fault.KindOf(last) != fault.Corrupt {
			t.Errorf("%s: got %v, want a fault of kind corrupt", what, last)
		}
	}
	n := 0
	for range parse(Open(document)) { //nolint:errcheck // how many come is what counts
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d records after a break at 2", n)
	}
}

// Fuzz checks of any document that it is read the same twice, and that what is read keeps to [Check]. The seeds are
// files.
func Fuzz(f *testing.F, parse Parser, seeds ...string) {
	for _, name := range seeds {
		seed, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		first, second := feedtest.Text(parse(Open(document))), feedtest.Text(parse(Open(document)))
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("two readings differ:\n%s", diff)
		}
		for _, violation := range Check(parse(Open(document))) {
			t.Error(violation)
		}
	})
}

// Check returns what records do not keep to: a record has an id, which is no alias of itself; a range has a namespace
// and a name, and a problem if one of its versions is none; there is nothing behind an error that ends them.
func Check(records advisory.Records) (violations []string) {
	ended := false
	violation := func(format string, args ...any) { violations = append(violations, fmt.Sprintf(format, args...)) }
	for r, err := range records {
		if ended {
			violation("something behind the end")
		}
		if err != nil {
			var bad *advisory.BadRecord
			ended = !errors.As(err, &bad)
			continue
		}
		if r.ID == "" || slices.Contains(r.Aliases, r.ID) {
			violation("record %q has the aliases %q", r.ID, r.Aliases)
		}
		for _, a := range r.Affected {
			if a.Namespace == "" || a.Name == "" {
				violation("%s: a range of %q in %q", r.ID, a.Name, a.Namespace)
			}
			for _, v := range []string{a.Introduced, a.Fixed} {
				if _, err := version.Key(a.Scheme, v); v != "" && err != nil && a.Problem == "" {
					violation("%s: %v", r.ID, err)
				}
			}
		}
	}
	return violations
}

// Feed is a real document, and what reads it.
type Feed struct {
	Name  string // below the folder of real feeds
	Parse Parser
	// Records finds what becomes a record, without reading the document: as many have to come out.
	Records string
	Long    bool // not with -short
}

// Feeds reads real documents and holds what they come to against a golden table.
func Feeds(t *testing.T, golden string, feeds []Feed) {
	t.Helper()
	var table strings.Builder
	for _, feed := range feeds {
		if feed.Long && testing.Short() {
			t.Skip("SKIPPED: reads documents of tens of megabytes")
		}
		document := Real(t, feed.Name)
		name := path.Base(feed.Name)
		var totals feedtest.Totals
		feedtest.Measure(t, fmt.Sprintf("%s, %d bytes held in memory", name, len(document)), func() {
			totals = feedtest.Sum(t, feed.Parse(Open(document)))
		})
		if stand := len(regexp.MustCompile(feed.Records).FindAllIndex(document, -1)); stand != totals.Records {
			t.Errorf("%s: %d records, %d stand in it", name, totals.Records, stand)
		}
		fmt.Fprintf(&table, "%s: %v\n", name, totals)
		statuses := make(map[string]int)
		for status, n := range totals.Statuses {
			statuses[status.String()] = n
		}
		for _, counts := range []map[string]int{totals.Namespaces, statuses} {
			for _, what := range slices.Sorted(maps.Keys(counts)) {
				fmt.Fprintf(&table, "    %d %s\n", counts[what], what)
			}
		}
		for _, bad := range totals.FirstBad {
			fmt.Fprintf(&table, "    bad %s\n", bad)
		}
	}
	feedtest.Golden(t, golden, table.String())
}

// Real returns a real document, inflated, or skips the test. The name is that below the folder of real feeds.
func Real(t testing.TB, name string) []byte {
	t.Helper()
	var r io.Reader = realdata.Open(t, "feeds/"+name)
	switch path.Ext(name) {
	case ".bz2":
		r = bzip2.NewReader(r)
	case ".gz":
		var err error
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
