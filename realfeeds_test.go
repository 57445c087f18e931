package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// TestFeeds reads every real document, each source by itself as a person would, and counts by another, plain way what the
// documents hold. What was read stands in a golden file.
func TestFeeds(t *testing.T) {
	if testing.Short() {
		t.Skip("half a gigabyte of documents: left out where tests are to be short")
	}
	feeds := realdata.Path(t, "feeds")
	s := newScanner(t)
	s.shared[3] = feeds
	var golden strings.Builder
	fmt.Fprintf(&golden, "%-7s %9s %8s %8s %4s\n", "source", "documents", "records", "ranges", "bad")
	for _, c := range []struct {
		source string
		count  func(t *testing.T, feeds string) int
	}{
		{"alpine", countAlpine},
		{"debian", countDebian},
		{"ubuntu", definitionsIn("security-metadata.canonical.com")},
		{"oracle", definitionsIn("linux.oracle.com/security/oval/com.oracle.elsa-ol8.xml.bz2")},
		{"elsa", definitionsIn("linux.oracle.com/security/oval/com.oracle.elsa-2023.xml.bz2")},
		{"rhsa", definitionsIn("www.redhat.com")},
		{"rocky", definitionsIn("dl.rockylinux.org")},
		{"redhat", countVEX},
		{"osv", countOSV},
		{"nvd", countNVD},
		{"kev", linesIn("www.cisa.gov", `"cveID"`)},
		{"epss", linesIn("epss.empiricalsecurity.com", `(?m)^CVE-`)},
	} {
		t.Run(c.source, func(t *testing.T) {
			stdout, stderr, code := s.run("update", "-o", "json", c.source)
			var outcomes []outcomeView
			if err := json.Unmarshal([]byte(stdout), &outcomes); err != nil || len(outcomes) != 1 || code != exitOK {
				t.Fatalf("exit code %d, %v: %s", code, err, stderr)
			}
			o := outcomes[0]
			fmt.Fprintf(&golden, "%-7s %9d %8d %8d %4d\n", o.Source, o.Documents, o.Records, o.Added, o.Bad)
			if want := c.count(t, feeds); o.Records != want {
				t.Errorf("%d records were read, the documents hold %d", o.Records, want)
			}
		})
	}
	compareGolden(t, "testdata/feeds.golden", golden.String())
}

// documents calls visit with the content of each document below a path, decompressed.
func documents(t *testing.T, path string, visit func(name string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var r io.Reader = bytes.NewReader(raw)
		switch filepath.Ext(name) {
		case ".bz2":
			r = bzip2.NewReader(r)
		case ".gz":
			if r, err = openPlain(name); err != nil {
				return err
			}
		case ".zst":
			z, err := zstd.NewReader(r)
			if err != nil {
				return err
			}
			defer z.Close()
			r = z
		}
		content, err := io.ReadAll(r)
		visit(name, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// definitionsIn counts the OVAL definitions below a path, without those that tell what a system is.
func definitionsIn(path string) func(*testing.T, string) int {
	definition := regexp.MustCompile(`<(?:[\w-]+:)?definition\s[^>]*>`)
	return func(t *testing.T, feeds string) (n int) {
		documents(t, filepath.Join(feeds, path), func(_ string, content []byte) {
			for _, tag := range definition.FindAll(content, -1) {
				if !bytes.Contains(tag, []byte(`class="inventory"`)) {
					n++
				}
			}
		})
		return n
	}
}

// linesIn counts what a pattern matches in the documents below a path.
func linesIn(path, pattern string) func(*testing.T, string) int {
	re := regexp.MustCompile(pattern)
	return func(t *testing.T, feeds string) (n int) {
		documents(t, filepath.Join(feeds, path), func(_ string, content []byte) { n += len(re.FindAll(content, -1)) })
		return n
	}
}

// countAlpine counts for each package and version the vulnerabilities that it fixes; an entry without one counts too.
func countAlpine(t *testing.T, feeds string) (n int) {
	documents(t, filepath.Join(feeds, "secdb.alpinelinux.org"), func(name string, content []byte) {
		var document struct {
			Packages []struct {
				Pkg struct {
					Secfixes map[string][]string `json:"secfixes"`
				} `json:"pkg"`
			} `json:"packages"`
		}
		if err := json.Unmarshal(content, &document); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range document.Packages {
			for _, entries := range p.Pkg.Secfixes {
				for _, entry := range entries {
					ids := slices.DeleteFunc(strings.Fields(entry), func(s string) bool { return !strings.HasPrefix(s, "CVE-") })
					slices.Sort(ids)
					n += max(1, len(slices.Compact(ids)))
				}
			}
		}
	})
	return n
}

// countDebian counts pairs of a package and a vulnerability.
func countDebian(t *testing.T, feeds string) (n int) {
	documents(t, filepath.Join(feeds, "security-tracker.debian.org"), func(name string, content []byte) {
		var document map[string]map[string]json.RawMessage
		if err := json.Unmarshal(content, &document); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, vulnerabilities := range document {
			n += len(vulnerabilities)
		}
	})
	return n
}

// countVEX counts the documents of the archive.
func countVEX(t *testing.T, feeds string) (n int) {
	documents(t, filepath.Join(feeds, "security.access.redhat.com/data/csaf/v2/vex"), func(name string, content []byte) {
		if !strings.HasSuffix(name, ".tar.zst") {
			return
		}
		for r := tar.NewReader(bytes.NewReader(content)); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			if strings.HasSuffix(h.Name, ".json") {
				n++
			}
		}
	})
	return n
}

// countOSV counts the documents, without errata of AlmaLinux that are about no vulnerability.
func countOSV(t *testing.T, feeds string) (n int) {
	documents(t, filepath.Join(feeds, "osv-vulnerabilities.storage.googleapis.com"), func(name string, content []byte) {
		if !strings.HasSuffix(name, ".zip") {
			return
		}
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, file := range archive.File {
			if !strings.HasPrefix(file.Name, "ALBA") && !strings.HasPrefix(file.Name, "ALEA") {
				n++
				continue
			}
			r, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			var d struct{ Related, Aliases []string }
			if err := json.NewDecoder(r).Decode(&d); err != nil {
				t.Fatalf("%s: %v", file.Name, err)
			}
			if slices.ContainsFunc(append(d.Related, d.Aliases...), func(s string) bool { return strings.HasPrefix(s, "CVE-") }) {
				n++
			}
		}
	})
	return n
}

// countNVD counts vulnerabilities, of a year's document and of what was modified lately. What was added lately stands in
// these as well, and is not read.
func countNVD(t *testing.T, feeds string) (n int) {
	seen := make(map[string]bool)
	var recent []string
	documents(t, filepath.Join(feeds, "nvd.nist.gov"), func(name string, content []byte) {
		if !strings.HasSuffix(strings.TrimSuffix(name, ".gz"), ".json") {
			return
		}
		var document struct {
			Vulnerabilities []struct {
				CVE struct{ ID string } `json:"cve"`
			} `json:"vulnerabilities"`
		}
		if err := json.Unmarshal(content, &document); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range document.Vulnerabilities {
			if strings.Contains(name, "-recent.") {
				recent = append(recent, v.CVE.ID)
				continue
			}
			seen[v.CVE.ID] = true
			n++
		}
	})
	for _, id := range recent {
		if !seen[id] {
			t.Errorf("%s was added lately, and stands nowhere else", id)
		}
	}
	return n
}
