package amazon

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

// parse reads a document as if it were that of Amazon Linux 2.
func parse(open oval.Opener) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		r, err := open()
		if err != nil {
			yield(advisory.Record{}, err)
			return
		}
		defer r.Close()
		Parse(r, "amzn:2")(yield)
	}
}

func TestParse(t *testing.T) { ovaltest.Golden(t, "testdata/updateinfo.xml", parse) }

func FuzzParse(f *testing.F) { ovaltest.Fuzz(f, parse, "testdata/updateinfo.xml") }

func TestLargeUpdate(t *testing.T) {
	item := `<package arch="x86_64" epoch="0" name="anvil" release="1" version="1"/>`
	document := `<updates><update type="security"><id>ALAS-1</id><pkglist><collection>` +
		strings.Repeat(item, maxUpdateBytes/len(item)+1) + `</collection></pkglist></update></updates>`
	var last error
	for _, err := range Parse(strings.NewReader(document), "amzn:2") {
		last = err
	}
	if fault.KindOf(last) != fault.TooLarge {
		t.Errorf("got %v, want a fault of kind too-large", last)
	}
}

func TestLink(t *testing.T) {
	for id, want := range map[string]string{
		"ALAS-2018-939":     "https://alas.aws.amazon.com/ALAS-2018-939.html",
		"ALAS2-2018-939":    "https://alas.aws.amazon.com/AL2/ALAS-2018-939.html",
		"ALAS2023-2023-001": "https://alas.aws.amazon.com/AL2023/ALAS-2023-001.html",
		"other":             "",
	} {
		if got := link(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

func TestParseMirrors(t *testing.T) {
	roots, err := ParseMirrors(strings.NewReader("# mirrors\nhttps://cdn.example/al2023/guids/12/x86_64/\n\n http://repo.example/2\n"))
	want := []string{"https://cdn.example/al2023/guids/12/x86_64/", "http://repo.example/2"}
	if diff := cmp.Diff(want, roots); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	for i, address := range []string{"https://cdn.example/al2023/guids/12/x86_64/repodata/repomd.xml", "http://repo.example/2/repodata/repomd.xml"} {
		if got := Below(roots[i], Index); got != address {
			t.Errorf("%s, want %s", got, address)
		}
	}
	for _, list := range []string{"", "# none\n", "<html>503</html>", "ftp://example/", "/etc/passwd", "https:///x", strings.Repeat("a", 1<<17)} {
		if _, err := ParseMirrors(strings.NewReader(list)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%.20q: got %v, want a fault of kind corrupt", list, err)
		}
	}
}

const index = `<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
 <revision>1568754421</revision>
<data type="primary_db">
  <checksum type="sha256">00</checksum>
  <location href="repodata/primary.sqlite.bz2"/>
</data>
<data type="updateinfo">
  <checksum type="sha256">9dd3</checksum>
  <open-checksum type="sha256">3530</open-checksum>
  <location href="%s"/>
  <timestamp>1568754407</timestamp>
</data>
</repomd>
`

func TestParseIndex(t *testing.T) {
	for href, want := range map[string]string{
		"repodata/updateinfo.xml.gz": "repodata/updateinfo.xml.gz",
		"../../../etc/passwd":        "etc/passwd", // stays below the mirror
	} {
		got, err := ParseIndex(strings.NewReader(fmt.Sprintf(index, href)))
		if err != nil || got != (Document{Path: want, SHA256: "9dd3"}) {
			t.Errorf("%s: %+v, %v", href, got, err)
		}
	}
	for document, kind := range map[string]fault.Kind{
		`<repomd/>`:                   fault.NotFound,
		fmt.Sprintf(index, ""):        fault.Corrupt,
		`<html/>`:                     fault.Corrupt,
		fmt.Sprintf(index, "x")[:300]: fault.Corrupt,
		`<repomd>` + strings.Repeat("<data/>", maxIndexBytes/7) + `</repomd>`: fault.TooLarge,
	} {
		if _, err := ParseIndex(strings.NewReader(document)); fault.KindOf(err) != kind {
			t.Errorf("%.40q: got %v, want a fault of kind %s", document, err, kind)
		}
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(fmt.Sprintf(index, "repodata/updateinfo.xml.gz"))
	f.Fuzz(func(t *testing.T, document string) {
		found, err := ParseIndex(strings.NewReader(document))
		if err == nil && (found.Path == "" || strings.Contains(Below("https://mirror.example/x", found.Path), "/../")) {
			t.Errorf("%+v", found)
		}
	})
}
