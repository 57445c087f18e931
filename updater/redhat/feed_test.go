package redhat

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

const realArchive = "security.access.redhat.com/data/csaf/v2/vex/csaf_vex_2026-03-31.tar.zst"

// openArchive returns the real archive, inflated.
func openArchive(t testing.TB) io.Reader {
	t.Helper()
	inflated, err := zstd.NewReader(realdata.Open(t, "feeds/"+realArchive), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inflated.Close)
	return inflated
}

// TestRealArchive pins what the real documents come to, and holds it against the slow path below.
func TestRealArchive(t *testing.T) {
	var census Census
	var totals feedtest.Totals
	feedtest.Measure(t, "real archive", func() { totals = feedtest.Sum(t, Parse(openArchive(t), &census)) })
	var table strings.Builder
	fmt.Fprintf(&table, "%v\n%+v\n", totals, census)
	for _, counts := range []map[string]int{totals.Namespaces, named(totals)} {
		var names []string
		for name := range counts {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(&table, "%-20s %d\n", name, counts[name])
		}
	}
	feedtest.Golden(t, "testdata/real.golden", table.String())

	got := make(map[string]bool)
	for r, err := range Parse(openArchive(t), nil) {
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range r.Affected {
			got[r.ID+" "+a.Namespace+" "+a.Name] = true
		}
	}
	documents, statements, want := slowPath(t, openArchive(t))
	if documents != totals.Records || documents != census.Documents {
		t.Errorf("%d documents, %d records, a census of %d", documents, totals.Records, census.Documents)
	}
	if all := census.Mainstream + census.Minor + census.Layered + census.NotRPM + census.Whole; all != statements {
		t.Errorf("%d statements, a census of %d", statements, all)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ranges differ from those of the slow path (-want +got):\n%s", diff)
	}
}

func named(totals feedtest.Totals) map[string]int {
	out := make(map[string]int)
	for status, n := range totals.Statuses {
		out[status.String()] = n
	}
	return out
}

var (
	mainstreamCPE = regexp.MustCompile(`^cpe:/[ao]:redhat:(?:enterprise_linux|rhel_els):(\d+)(?:\.\d+)?(?:::(?:baseos|appstream|crb|server|client|as|es|ws|desktop))?$`)
	rpmPURL       = regexp.MustCompile(`^pkg:rpm/redhat/([^@?]+)(@[^?]+)?(?:\?(.*))?$`)
	moduleOnly    = regexp.MustCompile(`^@([\w.]+)-\d{19}\.[0-9a-f]{8}$`)
)

// slowPath reads an archive by other means: into maps, with regular expressions. It returns the number of documents,
// of statements, and the names that are spoken of in the mainstream.
func slowPath(t *testing.T, r io.Reader) (documents, statements int, names map[string]bool) {
	names = make(map[string]bool)
	entries := tar.NewReader(r)
	for {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return documents, statements, names
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry.Typeflag != tar.TypeReg {
			continue
		}
		documents++
		var d map[string]any
		if err := json.NewDecoder(entries).Decode(&d); err != nil {
			t.Fatal(err)
		}
		products, relations := make(map[string]map[string]any), make(map[string][2]string)
		collect(d["product_tree"], products, relations)
		v := d["vulnerabilities"].([]any)[0].(map[string]any)
		for _, list := range v["product_status"].(map[string]any) {
			for _, id := range list.([]any) {
				statements++
				if name, ok := slowName(products, relations[id.(string)]); ok {
					names[v["cve"].(string)+" "+name] = true
				}
			}
		}
	}
}

// collect finds products and relationships wherever they stand.
func collect(node any, products map[string]map[string]any, relations map[string][2]string) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			collect(item, products, relations)
		}
	case map[string]any:
		if id, ok := node["product_id"].(string); ok {
			products[id] = node
		}
		if component, ok := node["product_reference"].(string); ok {
			relations[node["full_product_name"].(map[string]any)["product_id"].(string)] = [2]string{component, node["relates_to_product_reference"].(string)}
		}
		for _, item := range node {
			collect(item, products, relations)
		}
	}
}

// slowName returns "rhel:9 openssl.src" for a component and a platform of the mainstream.
func slowName(products map[string]map[string]any, relation [2]string) (string, bool) {
	helper, _ := products[relation[1]]["product_identification_helper"].(map[string]any)
	cpe, _ := helper["cpe"].(string)
	at := mainstreamCPE.FindStringSubmatch(cpe)
	if at == nil {
		return "", false
	}
	helper, _ = products[relation[0]]["product_identification_helper"].(map[string]any)
	purl, _ := helper["purl"].(string)
	if purl == "" {
		return "rhel:" + at[1] + " " + products[relation[0]]["name"].(string) + ".src", true
	}
	m := rpmPURL.FindStringSubmatch(purl)
	name := strings.ReplaceAll(m[1], "%2B", "+")
	if module := regexp.MustCompile(`rpmmod=([^:&]+:[^:&]+)`).FindStringSubmatch(m[3]); module != nil {
		name = module[1] + "/" + name
	} else if module := moduleOnly.FindStringSubmatch(m[2]); module != nil {
		name = name + ":" + module[1] + "/" + name
	}
	if strings.Contains(m[3], "arch=src") || m[2] != "" && !strings.Contains(m[3], "arch=") {
		name += ".src"
	}
	return "rhel:" + at[1] + " " + name, true
}

func TestRealRepositories(t *testing.T) {
	inflated, err := gzip.NewReader(realdata.Open(t, "feeds/security.access.redhat.com/data/metrics/repository-to-cpe.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	n, cpes := 0, 0
	unknown := make(map[string]bool)
	for r, err := range Repositories(inflated) {
		if err != nil {
			t.Error(err)
		}
		n++
		for _, cpe := range r.CPEs {
			cpes++
			if _, _, err := place(cpe); err != nil {
				unknown[cpe] = true
			}
		}
	}
	if n != 8564 || cpes != 12_737 || len(unknown) != 0 {
		t.Errorf("%d repositories of %d CPEs, unknown are %v", n, cpes, unknown)
	}
}

// grown writes an archive of n documents, those of testdata under other identifiers.
func grown(t testing.TB, w io.Writer, n int) error {
	var texts []string
	files, err := filepath.Glob("testdata/vex/202[34]/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "testdata/vex/2026/cve-2026-90003.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, regexp.MustCompile(`CVE-\d+-\d+`).ReplaceAllString(string(text), "CVE-0000-000000"))
	}
	out := tar.NewWriter(w)
	for i := range n {
		id := fmt.Sprintf("CVE-2026-%06d", i)
		text := strings.ReplaceAll(texts[i%len(texts)], "CVE-0000-000000", id)
		if err := addEntry(out, "2026/"+strings.ToLower(id)+".json", []byte(text)); err != nil {
			return err
		}
	}
	return out.Close()
}

// maxMemory is the most that reading may take, whatever there is to read.
const maxMemory = 128 << 20

// TestGrownArchive reads an archive of many documents in the memory of one.
func TestGrownArchive(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 600
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(grown(t, w, n)) }()
	var totals feedtest.Totals
	peak := feedtest.Measure(t, fmt.Sprintf("%d documents", n), func() { totals = feedtest.Sum(t, Parse(r, nil)) })
	if want := n / 3 * (3 + 15 + 7); totals.Records != n || totals.Ranges != want {
		t.Errorf("%v; want %d records, %d ranges", totals, n, want)
	}
	if peak > maxMemory {
		t.Errorf("%d MiB held", peak>>20)
	}
}

// TestLargeDocument reads a document of as many packages as no real one has. Its text is made while it is read.
func TestLargeDocument(t *testing.T) {
	n := 50_000
	if testing.Short() {
		n = 5_000
	}
	r, w := io.Pipe()
	go func() {
		buffered := bufio.NewWriter(w)
		writeLarge(buffered, n)
		w.CloseWithError(buffered.Flush())
	}()
	counted := &counting{r: r}
	ranges := 0
	peak := feedtest.Measure(t, "a large document", func() {
		readDocument(counted, "large", new(Census), func(r advisory.Record, err error) bool {
			if err != nil {
				t.Error(err)
			}
			ranges += len(r.Affected)
			return true
		})
	})
	t.Logf("it has %d MiB", counted.n>>20)
	if ranges != n {
		t.Errorf("%d ranges; want %d", ranges, n)
	}
	if peak > maxMemory {
		t.Errorf("%d MiB held", peak>>20)
	}
}

// writeLarge writes a document of n packages that names each seven times.
func writeLarge(w io.Writer, n int) {
	list := func(format string) {
		for i := range n {
			if i > 0 {
				io.WriteString(w, ",")
			}
			fmt.Fprintf(w, format, fmt.Sprintf("package-number-%06d-0:1.2.3-4.el9.x86_64", i), fmt.Sprintf("package-number-%06d", i))
		}
	}
	io.WriteString(w, `{"document":{"csaf_version":"2.0","tracking":{"id":"CVE-2026-0001"}},"product_tree":{"branches":[`)
	list(`{"category":"product_version","name":"%[1]s","product":{"name":"%[1]s","product_id":"%[1]s","product_identification_helper":{"purl":"pkg:rpm/redhat/%[2]s@1.2.3-4.el9?arch=x86_64"}}}`)
	io.WriteString(w, `,{"category":"product_name","name":"RHEL","product":{"name":"RHEL","product_id":"AppStream-9.4.0.GA","product_identification_helper":{"cpe":"cpe:/a:redhat:enterprise_linux:9::appstream"}}}],"relationships":[`)
	list(`{"category":"default_component_of","full_product_name":{"name":"%[1]s as a component of Red Hat Enterprise Linux AppStream (v. 9)","product_id":"AppStream-9.4.0.GA:%[1]s"},"product_reference":"%[1]s","relates_to_product_reference":"AppStream-9.4.0.GA"}`)
	io.WriteString(w, `]},"vulnerabilities":[{"cve":"CVE-2026-0001"`)
	for _, member := range []string{
		`,"product_status":{"fixed":[%s]}`, `,"remediations":[{"category":"vendor_fix","product_ids":[%s]}]`,
		`,"threats":[{"category":"impact","details":"Low","product_ids":[%s]}]`, `,"scores":[{"products":[%s]}]`,
	} {
		before, after, _ := strings.Cut(member, "%s")
		io.WriteString(w, before)
		list(`"AppStream-9.4.0.GA:%[1]s"`)
		io.WriteString(w, after)
	}
	io.WriteString(w, "}]}")
}

// BenchmarkParse reads small documents, -benchtime=300000x for as many of them.
func BenchmarkParse(b *testing.B) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(grown(b, w, b.N)) }()
	b.ReportAllocs()
	peak := feedtest.Measure(b, fmt.Sprintf("%d documents", b.N), func() { feedtest.Sum(b, Parse(r, nil)) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "documents/s")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}

// BenchmarkRealArchive reads the real archive.
func BenchmarkRealArchive(b *testing.B) {
	for b.Loop() {
		r := &counting{r: openArchive(b)}
		feedtest.Sum(b, Parse(r, nil))
		b.SetBytes(r.n)
	}
}

type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
