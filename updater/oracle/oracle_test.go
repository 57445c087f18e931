package oracle

import (
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

// parse reads all that a document says.
func parse(open oval.Opener) advisory.Records { return Parse(open, "") }

func TestParse(t *testing.T) { ovaltest.Golden(t, "testdata/elsa.xml", parse) }

func FuzzParse(f *testing.F) { ovaltest.Fuzz(f, parse, "testdata/elsa.xml") }

func TestFeeds(t *testing.T) {
	const folder = "linux.oracle.com/security/oval/"
	ol8 := func(open oval.Opener) advisory.Records { return Parse(open, "oracle:8") }
	ovaltest.Feeds(t, "testdata/feeds.golden", []ovaltest.Feed{
		{Name: folder + "com.oracle.elsa-2023.xml.bz2", Parse: parse, Records: `<definition `},
		{Name: folder + "com.oracle.elsa-ol8.xml.bz2", Parse: ol8, Records: `<definition `, Long: true},
	})
}

func TestFeed(t *testing.T) {
	address, namespace := Feed("8")
	if address != "https://linux.oracle.com/security/oval/com.oracle.elsa-ol8.xml.bz2" || namespace != "oracle:8" {
		t.Errorf("%s for %s", address, namespace)
	}
}
