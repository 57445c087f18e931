package rhsa

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

func TestParse(t *testing.T) { ovaltest.Golden(t, "testdata/rhsa.xml", in("")) }

func FuzzParse(f *testing.F) { ovaltest.Fuzz(f, in(""), "testdata/rhsa.xml") }

func TestFeeds(t *testing.T) {
	const folder = "www.redhat.com/security/data/oval/"
	ovaltest.Feeds(t, "testdata/feeds.golden", []ovaltest.Feed{
		{Name: folder + "com.redhat.rhsa-RHEL8.xml.gz", Parse: in("rhel:8"), Records: `<definition `},
		{Name: folder + "com.redhat.rhsa-RHEL9.xml.gz", Parse: in("rhel:9"), Records: `<definition `},
	})
}
