package azure

import (
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

func parse(open oval.Opener) advisory.Records { return Parse(open, "azurelinux:3") }

func TestParse(t *testing.T) { ovaltest.Golden(t, "testdata/oval.xml", parse) }

func FuzzParse(f *testing.F) { ovaltest.Fuzz(f, parse, "testdata/oval.xml") }

// TestFeeds holds the namespaces against those of distributions.
func TestFeeds(t *testing.T) {
	for _, f := range Feeds {
		id, release, _ := strings.Cut(f.Namespace, ":")
		if namespace, ok := (distro.Distribution{ID: id, VersionID: release + ".0"}).Namespace(); !ok || namespace != f.Namespace {
			t.Errorf("%s speaks for %s, which is no namespace", f.Address, f.Namespace)
		}
	}
}
