package rocky

import (
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

// in returns what reads a document for a namespace.
func in(namespace string) ovaltest.Parser {
	return func(open oval.Opener) advisory.Records { return Parse(open, namespace) }
}

func TestParse(t *testing.T) { ovaltest.Golden(t, "testdata/rlsa.xml", in("")) }

func FuzzParse(f *testing.F) { ovaltest.Fuzz(f, in(""), "testdata/rlsa.xml") }

func TestFeeds(t *testing.T) {
	const folder = "dl.rockylinux.org/pub/oval/"
	ovaltest.Feeds(t, "testdata/feeds.golden", []ovaltest.Feed{
		{Name: folder + "org.rockylinux.rlsa-8.xml.gz", Parse: in("rocky:8"), Records: `<definition `},
		{Name: folder + "org.rockylinux.rlsa-9.xml.gz", Parse: in("rocky:9"), Records: `<definition `},
	})
}
