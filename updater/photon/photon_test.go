package photon

import (
	"testing"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

// parse reads all that a document says.
func parse(open oval.Opener) advisory.Records { return Parse(open, "") }

func TestParse(t *testing.T) { ovaltest.Golden(t, "testdata/phsa.xml", parse) }

func FuzzParse(f *testing.F) { ovaltest.Fuzz(f, parse, "testdata/phsa.xml") }
