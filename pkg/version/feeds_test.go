package version

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// These tests read every version in real package databases and feeds.

// realVersions are where versions of each scheme are found, and the strings there that are none.
var realVersions = map[Scheme]struct {
	files      map[string]func(t *testing.T, r io.Reader, found func(string)) // by glob
	misspelled []string
}{
	Dpkg: {
		files: map[string]func(*testing.T, io.Reader, func(string)){
			"roots/*/var/lib/dpkg/status":                               statusVersions,
			"feeds/security-tracker.debian.org/tracker/data/json.gz":    trackerVersions,
			"feeds/security-metadata.canonical.com/oval/*.oval.xml.bz2": ovalVersions,
		},
		misspelled: []string{ // all of them by Ubuntu
			"0:1.9.2 only", "0:2.5 only", "0:2.8.0- 1", "0:3.x only", "0:4.6.x only", "0:5.6 only", "0:5.7 only",
			"0:8.0 only", "0:8.0.x only", "0:8.x only", "1:1.12_1.12.6-1+deb9u1build0.18.04.1",
		},
	},
	RPM: {
		files: map[string]func(*testing.T, io.Reader, func(string)){
			"feeds/www.redhat.com/security/data/oval/*.xml.gz":                   ovalVersions,
			"feeds/linux.oracle.com/security/oval/*.xml.bz2":                     ovalVersions,
			"feeds/dl.rockylinux.org/pub/oval/*.xml.gz":                          ovalVersions,
			"feeds/osv-vulnerabilities.storage.googleapis.com/AlmaLinux/all.zip": osvVersions,
		},
	},
	APK: {
		files: map[string]func(*testing.T, io.Reader, func(string)){
			"roots/*/lib/apk/db/installed":         installedVersions,
			"feeds/secdb.alpinelinux.org/*/*.json": secdbVersions,
		},
		misspelled: []string{ // all of them in secdb; apk-tools 2 took some
			"0.12.5.-r0", "0.8.21.r2", "1.0.4.-r0", "1.11-20-r0", "1.18.-r2", "1.7.5.-r1", "1.9.5p2-r0", "10.0.11-0",
			"10.2.22.r0", "10.2.24.r0", "2.15.r-r1", "2021-03-27-r5", "3.3.3p1-r3", "4.10-1-r1", "4.8.0.-r1", "57-1-r2",
			"6.6.2p1-r0", "6.6.4p1-r1", "6.6.4p1-r2", "6.7.1p1-r1",
		},
	},
	NPM: {
		files: map[string]func(*testing.T, io.Reader, func(string)){
			"lang/*package-json.tar.gz": packageJSONVersions,
		},
	},
	Go: {
		files: map[string]func(*testing.T, io.Reader, func(string)){
			"feeds/osv-vulnerabilities.storage.googleapis.com/Go/all.zip": osvVersions,
		},
	},
	PyPI: {
		files: map[string]func(*testing.T, io.Reader, func(string)){
			"feeds/osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip": osvVersions,
			"lang/*METADATA.tar.gz": metadataVersions,
		},
		misspelled: strings.Fields( // from before the specification
			`-class.-jw.util.version.Version- 0.1-bulbasaur 0.1-charmander 0.2.0-n653 0.3.1-p1 0.3.2d 0.3.2d.dev 0.3.2e.dev 0.3.2f
			0.3.2f.dev 0.3.2g.dev 0.3m1 0.3m2 0.3m3 0.3m4 0.3m5 0.4.0-p1 0.4m1 0.4m2 0.4m3 0.4m4 0.4m5 0.5m1 0.5m2 0.5m3 0.5m4
			0.5m5 0.6m1 0.6m2 0.6m3 0.6m4 0.6m5 0.6m6 0.7.0d 0.7.1.fix1 0.7.10p1 0.7.11p1 0.7.11p2 0.7.11p3 0.7.4.svn.r2010
			0.8.1p1 0.8.3p1 0.8.4p1 0.8.4p2 0.8.6p1 0.8.7p1 0.9-doduo 0.9-eevee 0.9-fearow 0.9-gyarados 0.9-horsea 0.9-ivysaur
			1.0beta6.1 2.0.0-final 2.0.1rc2-git 2013-01-21T20:33:09+0100 2013-01-23T17:11:52+0100 2013-02-01T20:50:46+0100
			2013-02-02T19:59:03+0100 2013-02-02T20:23:17+0100 2013-02-08T17:40:57+0000 2013-03-27T16:32:26+0100
			2013-05-09T12:47:53+0200 2013-05-10T17:55:56+0200 2013-05-14T20:16:05+0200 2013-06-01T10:32:51+0200
			2013-07-19T09:11:08+0000 2013-08-12T21:48:56+0200 2013-09-11T19-27-10 2013-12-23T17-51-15 2014-01-12T15-52-10
			2019-09-12 3.0.0b3- 4.11-final 5.0-final a3 trunk`),
	},
}

func TestRealVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: reads 200 MB of feeds and asks the real tools")
	}
	sizes := map[Scheme]int{Dpkg: 800, RPM: 20000, APK: 300, NPM: 2000, Go: 20000, PyPI: 20000}
	for scheme := range realVersions {
		t.Run(string(scheme), func(t *testing.T) {
			versions := readReal(t, scheme)
			keys, size := keysOf(t, scheme, versions)
			t.Logf("%d versions; bytes per key %.1f, per version %.1f", len(versions),
				float64(size)/float64(len(keys)), float64(len(strings.Join(versions, "")))/float64(len(versions)))
			slices.SortFunc(versions, func(a, b string) int {
				return cmp.Or(bytes.Compare(keys[a], keys[b]), strings.Compare(a, b))
			})
			checkSorted(t, scheme, versions, sizes[scheme])
		})
	}
}

// keysOf makes the keys of all versions, and returns how many bytes they have together.
func keysOf(t *testing.T, scheme Scheme, versions []string) (keys map[string][]byte, size int) {
	t.Helper()
	keys = make(map[string][]byte, len(versions))
	for _, s := range versions {
		key, err := Key(scheme, s)
		if err != nil {
			t.Error(err)
		}
		keys[s] = key
		size += len(key)
	}
	return keys, size
}

// checkSorted asks the tool about neighbors, and about pairs that lie anywhere in the order.
func checkSorted(t *testing.T, scheme Scheme, versions []string, n int) {
	t.Helper()
	find := tools[scheme]
	if scheme == APK {
		find = apk2Tool
	}
	program := find(t)
	p := seeded(3)
	var pairs [][2]string
	for len(pairs) < n {
		i := p(len(versions) - 1)
		j := i + 1
		if p.chance(4) {
			j = i + p(len(versions)-i)
		}
		if scheme != APK || apk2Alike(versions[i], versions[j]) {
			pairs = append(pairs, [2]string{versions[i], versions[j]})
		}
	}
	for i, op := range program.order(t, pairs) {
		checkFact(t, scheme, pairs[i][0]+" "+op+" "+pairs[i][1])
	}
}

// readReal returns the distinct versions of a scheme, sorted as strings, or skips the test. Strings
// that are no versions are errors of the test unless they are known, and the other way round.
func readReal(t *testing.T, scheme Scheme) []string {
	t.Helper()
	upstream := realVersions[scheme]
	distinct := map[string]bool{}
	for glob, read := range upstream.files {
		names, err := filepath.Glob(filepath.Join(realdata.Path(t, ""), filepath.FromSlash(glob)))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			readRealFile(t, name, read, distinct)
		}
	}
	if len(distinct) == 0 {
		t.Skip("SKIPPED: no real data beside the repository")
	}
	for _, s := range upstream.misspelled {
		if !distinct[s] {
			t.Errorf("%q is listed as misspelled and found nowhere", s)
		}
		if _, err := Key(scheme, s); err == nil {
			t.Errorf("%q is listed as misspelled, yet it has a key", s)
		}
		delete(distinct, s)
	}
	return slices.Sorted(maps.Keys(distinct))
}

func readRealFile(t *testing.T, name string, read func(*testing.T, io.Reader, func(string)), distinct map[string]bool) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = bufio.NewReader(f)
	switch filepath.Ext(name) {
	case ".gz":
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	case ".bz2":
		r = bzip2.NewReader(r)
	}
	read(t, r, func(s string) { distinct[s] = true })
}

func eachLine(t *testing.T, r io.Reader, line func(string)) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line(scanner.Text())
	}
	if err := scanner.Err(); err != nil {
		t.Error(err)
	}
}

func statusVersions(t *testing.T, r io.Reader, found func(string)) {
	eachLine(t, r, func(line string) {
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			found(v)
		}
		if source, ok := strings.CutPrefix(line, "Source: "); ok && strings.HasSuffix(source, ")") {
			_, v, _ := strings.Cut(strings.TrimSuffix(source, ")"), "(")
			found(v)
		}
	})
}

func installedVersions(t *testing.T, r io.Reader, found func(string)) {
	eachLine(t, r, func(line string) {
		if v, ok := strings.CutPrefix(line, "V:"); ok {
			found(v)
		}
	})
}

func decode(t *testing.T, r io.Reader, v any) {
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Error(err)
	}
}

func trackerVersions(t *testing.T, r io.Reader, found func(string)) {
	var packages map[string]map[string]struct {
		Releases map[string]struct {
			FixedVersion string `json:"fixed_version"`
			Repositories map[string]string
		}
	}
	decode(t, r, &packages)
	for _, p := range packages {
		for _, issue := range p {
			for _, release := range issue.Releases {
				if release.FixedVersion != "" {
					found(release.FixedVersion)
				}
				for _, v := range release.Repositories {
					found(v)
				}
			}
		}
	}
}

func secdbVersions(t *testing.T, r io.Reader, found func(string)) {
	var db struct {
		Packages []struct {
			Pkg struct{ Secfixes map[string]any }
		}
	}
	decode(t, r, &db)
	for _, p := range db.Packages {
		for v := range p.Pkg.Secfixes {
			found(v)
		}
	}
}

var ovalEVR = regexp.MustCompile(`<[a-z:-]*evr [^>]*>([^<]*)<`)

func ovalVersions(t *testing.T, r io.Reader, found func(string)) {
	eachLine(t, r, func(line string) {
		if !strings.Contains(line, "evr ") {
			return
		}
		for _, m := range ovalEVR.FindAllStringSubmatch(line, -1) {
			found(m[1])
		}
	})
}

func eachFile(t *testing.T, r io.Reader, file func(io.Reader)) {
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			file(archive)
		}
	}
}

func packageJSONVersions(t *testing.T, r io.Reader, found func(string)) {
	eachFile(t, r, func(r io.Reader) {
		var manifest struct{ Version string }
		decode(t, r, &manifest)
		if manifest.Version != "" {
			found(manifest.Version)
		}
	})
}

func metadataVersions(t *testing.T, r io.Reader, found func(string)) {
	eachFile(t, r, func(r io.Reader) {
		eachLine(t, r, func(line string) {
			if v, ok := strings.CutPrefix(line, "Version: "); ok {
				found(v)
			}
		})
	})
}

func osvVersions(t *testing.T, r io.Reader, found func(string)) {
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range archive.File {
		entry, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			Affected []struct {
				Ranges []struct {
					Type   string
					Events []map[string]string
				}
				Versions []string
			}
		}
		decode(t, entry, &record)
		for _, a := range record.Affected {
			for _, v := range a.Versions {
				found(v)
			}
			for _, span := range a.Ranges {
				if span.Type == "GIT" {
					continue // commits
				}
				for _, event := range span.Events {
					for _, v := range event {
						found(v)
					}
				}
			}
		}
	}
}
