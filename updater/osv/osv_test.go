package osv

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

// pack returns an export of the documents in testdata.
func pack(t testing.TB, ecosystem string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	files, err := filepath.Glob(filepath.Join("testdata", ecosystem, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := addEntry(w, filepath.Base(file), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(addEntry(w, "README", []byte("no document")), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func addEntry(w *zip.Writer, name string, text []byte) error {
	entry, err := w.Create(name)
	if err == nil {
		_, err = entry.Write(text)
	}
	return err
}

func parseBytes(archive []byte, ecosystem string) advisory.Records {
	return Parse(bytes.NewReader(archive), int64(len(archive)), ecosystem)
}

func TestParse(t *testing.T) {
	for _, ecosystem := range []string{"npm", "PyPI", "Go", "AlmaLinux"} {
		t.Run(ecosystem, func(t *testing.T) {
			feedtest.Golden(t, filepath.Join("testdata", ecosystem+".golden"), feedtest.Text(parseBytes(pack(t, ecosystem), ecosystem)))
		})
	}
}

func TestParseStops(t *testing.T) {
	archive := pack(t, "npm")
	total := 0
	for range parseBytes(archive, "npm") {
		total++
	}
	for most := 1; most <= total; most++ {
		n := 0
		for range parseBytes(archive, "npm") {
			if n++; n == most {
				break
			}
		}
		if n != most {
			t.Errorf("%d records after a break at %d", n, most)
		}
	}
}

func TestParseBroken(t *testing.T) {
	whole := pack(t, "npm")
	var empty bytes.Buffer
	if err := zip.NewWriter(&empty).Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, ecosystem string
		archive         []byte
		kind            fault.Kind
	}{
		{"empty", "npm", nil, fault.Corrupt},
		{"an error page", "npm", []byte("<html>503</html>"), fault.Corrupt},
		{"cut off", "npm", whole[:len(whole)-30], fault.Corrupt},
		{"no document", "npm", empty.Bytes(), fault.Corrupt},
		{"another ecosystem", "GitHub Actions", whole, fault.Unsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			var last error
			for _, err := range parseBytes(c.archive, c.ecosystem) {
				last = err
			}
			if fault.KindOf(last) != c.kind {
				t.Errorf("got %v, want a fault of kind %s", last, c.kind)
			}
		})
	}
}

// TestParseDamaged flips a byte inside each document in turn: the checksum tells, and the others are read.
func TestParseDamaged(t *testing.T) {
	whole := pack(t, "PyPI")
	at := bytes.Index(whole, []byte("PYSEC-2026-1.json")) + len("PYSEC-2026-1.json") + 20
	damaged := bytes.Clone(whole)
	damaged[at] ^= 0x55
	n := 0
	for _, err := range parseBytes(damaged, "PyPI") {
		var bad *advisory.BadRecord
		if !errors.As(err, &bad) || bad.ID != "PYSEC-2026-1" {
			t.Errorf("got %v", err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d records", n)
	}
}

// TestParseBomb reads a document that inflates to more than any real one, and lies about it.
func TestParseBomb(t *testing.T) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	entry, err := w.Create("GHSA-aaaa-bbbb-0001.json")
	if err != nil {
		t.Fatal(err)
	}
	zeros := bytes.Repeat([]byte(" "), 1<<20)
	for range maxDocumentBytes>>20 + 1 {
		if _, err := entry.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := out.Bytes()
	directory := bytes.LastIndex(bomb, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(bomb[directory+24:], 1000) // the size that the directory tells
	for _, err := range parseBytes(bomb, "npm") {
		var bad *advisory.BadRecord
		if !errors.As(err, &bad) {
			t.Errorf("got %v, want a bad record", err)
		}
	}
}

// TestEcosystems holds the table against the schemes and the namespaces of distributions.
func TestEcosystems(t *testing.T) {
	for _, name := range Ecosystems() {
		e := ecosystems[name]
		if e.name != name || (e.namespace == "") == (e.distro == "") {
			t.Errorf("%s: %+v", name, e)
		}
		if _, err := version.Key(e.scheme, "1.2.3"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if e.distro == "" {
			if e.namespace != strings.ToLower(name) || Namespaces(name) != e.namespace {
				t.Errorf("%s has the namespace %s", name, e.namespace)
			}
			continue
		}
		if want, ok := (distro.Distribution{ID: e.distro, VersionID: "9.4"}).Namespace(); !ok || !strings.HasPrefix(want, strings.TrimSuffix(Namespaces(name), "*")) {
			t.Errorf("%s speaks for %s, a release of it is in %s", name, Namespaces(name), want)
		}
	}
	if got := Address("Rocky Linux"); got != "https://osv-vulnerabilities.storage.googleapis.com/Rocky%20Linux/all.zip" {
		t.Errorf("address %s", got)
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct{ ecosystem, name, want string }{
		{"PyPI", "Zope.Snake__Charmer", "zope-snake-charmer"},
		{"PyPI", "a-_-.b", "a-b"},
		{"NuGet", "Newtonsoft.Json", "newtonsoft.json"},
		{"Packagist", "Symfony/HTTP-Kernel", "symfony/http-kernel"},
		{"npm", "@Scope/JSONStream", "@Scope/JSONStream"},
		{"Maven", "org.Example:Lock", "org.Example:Lock"},
	} {
		if got := ecosystems[c.ecosystem].fold(c.name); got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.ecosystem, c.name, got, c.want)
		}
	}
}

func TestDescribe(t *testing.T) {
	long := strings.Repeat("ä", maxDescriptionBytes)
	if got := describe("", "a"+long); got != "a"+strings.Repeat("ä", maxDescriptionBytes/2-1)+"…" {
		t.Errorf("cut at %d bytes: %q", len(got), got[len(got)-8:])
	}
}

// grown writes an export of n documents.
func grown(t testing.TB, to io.Writer, n int) {
	t.Helper()
	text, err := os.ReadFile("testdata/npm/GHSA-aaaa-bbbb-0001.json")
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(to)
	for i := range n {
		id := fmt.Sprintf("GHSA-aaaa-%04d-%04d", i/10_000, i%10_000)
		if err := addEntry(w, id+".json", bytes.ReplaceAll(text, []byte("GHSA-aaaa-bbbb-0001"), []byte(id))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkParse reads an export of many documents from a file, -benchtime=250000x for as many of them.
func BenchmarkParse(b *testing.B) {
	file, err := os.CreateTemp(b.TempDir(), "all-*.zip")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	grown(b, file, b.N)
	info, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	peak := feedtest.Measure(b, fmt.Sprintf("%d documents", b.N), func() { feedtest.Sum(b, Parse(file, info.Size(), "npm")) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "documents/s")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}

func FuzzParse(f *testing.F) {
	for _, ecosystem := range []string{"npm", "PyPI", "AlmaLinux"} {
		f.Add(pack(f, ecosystem), ecosystem)
	}
	f.Fuzz(func(t *testing.T, archive []byte, ecosystem string) {
		first := feedtest.Text(parseBytes(archive, ecosystem))
		if second := feedtest.Text(parseBytes(archive, ecosystem)); first != second {
			t.Errorf("two readings differ:\n%s\n%s", first, second)
		}
	})
}

// FuzzDocument reads documents that no zip file is around.
func FuzzDocument(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), filepath.Base(filepath.Dir(file)))
	}
	f.Fuzz(func(t *testing.T, text, ecosystem string) {
		e, ok := ecosystems[ecosystem]
		if !ok {
			return
		}
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		if err := errors.Join(addEntry(w, "a.json", []byte(text)), w.Close()); err != nil {
			t.Fatal(err)
		}
		for record, err := range parseBytes(out.Bytes(), ecosystem) {
			var bad *advisory.BadRecord
			if err != nil && !errors.As(err, &bad) {
				t.Error(err)
			}
			for _, a := range record.Affected {
				if a.Namespace == "" || a.Name == "" || a.Scheme != e.scheme {
					t.Errorf("a range without name: %+v", a)
				}
				for _, v := range []string{a.Introduced, a.Fixed} {
					if _, err := version.Key(a.Scheme, v); v != "" && err != nil && a.Problem == "" {
						t.Errorf("a range that cannot be compared: %+v", a)
					}
				}
			}
		}
	})
}
