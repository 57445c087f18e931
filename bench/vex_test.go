package bench

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/trawl-scanner/trawl/updater"
	"github.com/trawl-scanner/trawl/updater/feedtest"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// maxUpdaterBytes is the most memory that the updater may hold, whatever the size of a feed.
const maxUpdaterBytes = 512 << 20

// BenchmarkVEX runs the updater on an archive of Red Hat's VEX documents as large as the real one, three million ranges in
// 360,000 documents, from a server on this machine that makes it on the fly, into an empty database. The peak is the
// resident set of this process: the updater, and the server that makes the archive.
func BenchmarkVEX(b *testing.B) {
	documents := 360_000
	if testing.Short() {
		documents = 900
	}
	templates := readTemplates(b)
	for b.Loop() {
		b.StopTimer()
		d := openDatabase(b)
		mirror := httptest.NewServer(&vexMirror{templates: templates, documents: documents})
		u, err := updater.New(updater.Config{Store: d.store, Fetch: fetch.New(fetch.Config{Mirror: mirror.URL}), Sources: []string{"redhat"}})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		var outcomes []updater.Outcome
		peak := feedtest.Measure(b, "update", func() { outcomes, err = u.Update(b.Context(), nil, updater.Options{}) })
		b.StopTimer()
		if err == nil {
			err = outcomes[0].Err
		}
		if err != nil {
			b.Fatal(err)
		}
		delta := outcomes[0].Delta
		if delta.Records != documents || delta.Bad > 0 {
			b.Errorf("%d records of %d documents, %d bad", delta.Records, documents, delta.Bad)
		}
		if peak > maxUpdaterBytes {
			b.Errorf("%d MiB held", peak>>20)
		}
		b.ReportMetric(float64(delta.Ranges), "ranges")
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		mirror.Close()
		d.stop()
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric(float64(documents*b.N)/b.Elapsed().Seconds(), "documents/s")
}

// vexMirror serves an archive of made-up documents in the protocol of the real ones.
type vexMirror struct {
	templates []string
	documents int
}

// ServeHTTP serves a document of the mirror.
func (m *vexMirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/security.access.redhat.com/data/csaf/v2/vex/") {
	case "archive_latest.txt":
		fmt.Fprintln(w, "csaf_vex_2026-03-31.tar.zst")
	case "csaf_vex_2026-03-31.tar.zst":
		if err := m.write(r.Context(), w); err != nil {
			panic(http.ErrAbortHandler) // how a handler breaks off a response
		}
	case "changes.csv", "deletions.csv":
	default:
		http.NotFound(w, r)
	}
}

// write writes the archive: the templates, over and over, under other identifiers.
func (m *vexMirror) write(ctx context.Context, w io.Writer) error {
	deflated, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	entries := tar.NewWriter(deflated)
	for i := range m.documents {
		id := fmt.Sprintf("CVE-%d-%06d", 2000+i%27, 100_000+i)
		text := []byte(strings.ReplaceAll(m.templates[i%len(m.templates)], placeholder, id))
		name := fmt.Sprintf("%s/%s.json", id[4:8], strings.ToLower(id))
		err := entries.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = io.Copy(entries, bytes.NewReader(text))
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
	if err := entries.Close(); err != nil {
		return err
	}
	return deflated.Close()
}

// placeholder stands for the identifier in a template.
const placeholder = "CVE-0000-000000"

// readTemplates reads the documents that the tests of Red Hat's reader have, of three generations.
func readTemplates(b *testing.B) []string {
	b.Helper()
	var out []string
	for _, name := range []string{"2023/cve-2023-90002.json", "2024/cve-2024-90001.json", "2026/cve-2026-90003.json"} {
		text, err := os.ReadFile(filepath.Join("../updater/redhat/testdata/vex", filepath.FromSlash(name)))
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, regexp.MustCompile(`CVE-\d+-\d+`).ReplaceAllString(string(text), placeholder))
	}
	return out
}
