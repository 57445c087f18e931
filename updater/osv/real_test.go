package osv

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/realdata"
	"github.com/trawl-scanner/trawl/updater/feedtest"
)

// TestRealExports pins what real exports come to, and counts what the raw documents hold.
func TestRealExports(t *testing.T) {
	if testing.Short() {
		t.Skip("half a gigabyte of documents: left out where tests are to be short")
	}
	var table strings.Builder
	for _, ecosystem := range []string{"AlmaLinux", "Go", "PyPI"} {
		file := realdata.Open(t, "feeds/osv-vulnerabilities.storage.googleapis.com/"+ecosystem+"/all.zip")
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		var totals feedtest.Totals
		feedtest.Measure(t, ecosystem, func() { totals = feedtest.Sum(t, Parse(file, info.Size(), ecosystem)) })
		fmt.Fprintf(&table, "%s: %v\n", ecosystem, totals)
		for _, namespace := range slices.Sorted(maps.Keys(totals.Namespaces)) {
			fmt.Fprintf(&table, "    %-14s %d\n", namespace, totals.Namespaces[namespace])
		}
		archive, err := zip.NewReader(file, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		if want := count(t, archive); totals.Records != want {
			t.Errorf("%s: %d records, the documents are %d", ecosystem, totals.Records, want)
		}
	}
	feedtest.Golden(t, "testdata/real.golden", table.String())
}

// count returns the number of documents, without errata of AlmaLinux that name no vulnerability.
func count(t *testing.T, archive *zip.Reader) int {
	n := 0
	for _, file := range archive.File {
		if !strings.HasPrefix(file.Name, "ALBA") && !strings.HasPrefix(file.Name, "ALEA") {
			n++
			continue
		}
		content, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		var d map[string]any
		if err := json.NewDecoder(content).Decode(&d); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(d["related"], d["aliases"]), "CVE-") {
			n++
		}
	}
	return n
}
