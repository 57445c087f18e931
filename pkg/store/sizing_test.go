package store

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/job"
)

var sizingScale = flag.Int("sizing-scale", 1, "how much larger the database is that TestSizing measures")

// sizingDocument has the formula that operators reckon with: a table of what there is and what it takes.
const sizingDocument = "../../deploy/SIZING.md"

// drivers are the queries that count what the rows of the table in the document stand for.
var drivers = map[string]string{
	"installation":              `SELECT 1`,
	"layer":                     `SELECT count(*) FROM layer`,
	"package listed by a layer": `SELECT coalesce(sum(octet_length(content)), 0) / 40.0 FROM layer`, // see inventory/wire.go
	"image":                     `SELECT count(*) FROM image`,
	"package of an image":       `SELECT coalesce(sum(cardinality(v.package_ids)), 0) FROM image i JOIN inventory v ON v.id = i.inventory_id`,
	"reference":                 `SELECT count(*) FROM tag`,
	"submission":                `SELECT count(*) FROM submission`,
	"inventory":                 `SELECT count(*) FROM inventory`,
	"package in an inventory":   `SELECT coalesce(sum(cardinality(package_ids)), 0) FROM inventory`,
	"package":                   `SELECT count(*) FROM package`,
	"release":                   `SELECT count(*) FROM release`,
	"advisory":                  `SELECT count(*) FROM advisory`,
	"range":                     `SELECT count(*) FROM affected`,
	"finding":                   `SELECT count(*) FROM finding`,
	"undecided pair":            `SELECT count(*) FROM undecided`,
	"change kept":               `SELECT count(*) FROM change`,
}

// TestSizing holds the formula in the document against a database that is filled as workers and updaters fill it. With -v it
// tells what a row of each table takes; with -sizing-scale 20 the database is large enough to take the figures from.
func TestSizing(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	fillForSizing(t, s, *sizingScale)
	exec(t, s, `VACUUM ANALYZE`)

	var predicted float64
	for what, bytes := range readSizing(t) {
		query, ok := drivers[what]
		if !ok {
			t.Errorf("%s: %q cannot be counted", sizingDocument, what)
			continue
		}
		var n float64
		if err := s.pool.QueryRow(t.Context(), `SELECT (`+query+`)::float8`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		predicted += n * bytes
		t.Logf("%-26s %9.0f of %.0f bytes: %.0f", what, n, bytes, n*bytes)
	}
	rows, err := s.pool.Query(t.Context(), `
		SELECT relname, reltuples::bigint, pg_total_relation_size(oid), pg_indexes_size(oid) FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reltuples > 0 ORDER BY 3 DESC`)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var n, bytes, indexes, actual int64
	for rows.Next() {
		if err := rows.Scan(&name, &n, &bytes, &indexes); err != nil {
			t.Fatal(err)
		}
		actual += bytes
		t.Logf("%-16s %8d rows, %9d bytes, %6.1f for each, %.1f of them in indexes", name, n, bytes, float64(bytes)/float64(n), float64(indexes)/float64(n))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %.0f predicted", actual, predicted)
	if ratio := predicted / float64(actual); ratio < 0.7 || ratio > 1.3 {
		t.Errorf("%s predicts %.0f bytes, and it is %d", sizingDocument, predicted, actual)
	}
}

// readSizing reads the table: a name, and a number of bytes.
func readSizing(t *testing.T) map[string]float64 {
	t.Helper()
	file, err := os.Open(sizingDocument)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out := make(map[string]float64)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) < 4 {
			continue
		}
		if bytes, err := strconv.ParseFloat(strings.TrimSpace(cells[2]), 64); err == nil {
			out[strings.TrimSpace(cells[1])] = bytes
		}
	}
	if len(out) != len(drivers) {
		t.Errorf("%s has %d rows, of %d", sizingDocument, len(out), len(drivers))
	}
	return out
}

// fillForSizing scans images of eight layers and some 180 packages, a base that several share and two layers of their own
// that say something, as images have; and reads two versions of a feed.
func fillForSizing(t *testing.T, s *Store, scale int) {
	t.Helper()
	const perLayer = 60
	names := 400 * scale
	images := 250 * scale
	for i := range images {
		layers := []string{fmt.Sprint("base ", i/10)}
		for l := range 7 {
			layers = append(layers, fmt.Sprintf("own %d %d", i, l))
		}
		submit(t, s, i, fmt.Sprint("image ", i), job.Bulk, layers...)
		var results []LayerResult
		if i%10 == 0 {
			results = append(results, analyzed(layers[0], debianLayer(sizingPackages(i/10, 0, names, perLayer)...)))
		}
		for l, layer := range layers[1:] {
			result := analyzed(layer, &inventory.Layer{})
			if l == 0 || l == 3 { // a database replaces the one below, and so has what that had
				packages := sizingPackages(i/10, 0, names, perLayer)
				packages = append(packages, sizingPackages(i, 1, names, perLayer*(1+l/3))...)
				result.Content = debianLayer(packages...)
			}
			results = append(results, result)
		}
		commitLayers(t, s, results...)
	}

	var list []advisory.Record
	for i := range 5000 * scale {
		r := rangeOf(fmt.Sprintf("lib%d-package", i*7%names*2), fmt.Sprintf("%d.1", 1+i%9), advisory.Fixed, advisory.Severity(i%5))
		other := rangeOf(r.Name, fmt.Sprintf("%d.2", 2+i%9), advisory.Fixed, advisory.Medium)
		list = append(list, advisory.Record{
			ID: fmt.Sprintf("CVE-2026-%06d", i), Severity: advisory.High, Link: fmt.Sprintf("https://security-tracker.debian.org/tracker/CVE-2026-%06d", i),
			Description: strings.Repeat(fmt.Sprintf("A flaw in number %d. ", i), 8), Affected: []advisory.Range{r, other},
		})
	}
	applyFeed(t, s, feedOf(1, list...))
	for i := range list[:len(list)/20] {
		list[i].Severity = advisory.Critical
		list[i].Affected[0].Fixed = "3.3"
	}
	applyFeed(t, s, feedOf(2, list...))
}

// sizingPackages returns packages of a layer: the n-th of its kind. A package is in some twenty images.
func sizingPackages(n, kind, names, count int) []string {
	var out []string
	for p := range count {
		name := (n*13+p*7)%names*2 + kind
		out = append(out, fmt.Sprintf("lib%d-package %d.%d-1+deb12u1", name, 1+n%3, name%9))
	}
	return out
}
