package ubuntu

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/oval/ovaltest"
)

// notices reads a document of notices, knowing no more than the package does.
func notices(open oval.Opener) advisory.Records { return ParseNotices(open, nil) }

func TestParse(t *testing.T)        { ovaltest.Golden(t, "testdata/cve.xml", Parse) }
func TestParseNotices(t *testing.T) { ovaltest.Golden(t, "testdata/usn.xml", notices) }

func FuzzParse(f *testing.F)        { ovaltest.Fuzz(f, Parse, "testdata/cve.xml") }
func FuzzParseNotices(f *testing.F) { ovaltest.Fuzz(f, notices, "testdata/usn.xml") }

// folder is where Canonical's documents are.
const folder = "security-metadata.canonical.com/oval/com.ubuntu."

func TestFeeds(t *testing.T) {
	vulnerability, patch := `<definition class="vulnerability"`, `class="patch"`
	ovaltest.Feeds(t, "testdata/feeds.golden", []ovaltest.Feed{
		{Name: folder + "jammy.usn.oval.xml.bz2", Parse: notices, Records: patch},
		{Name: folder + "noble.usn.oval.xml.bz2", Parse: notices, Records: patch},
		{Name: folder + "focal.cve.oval.xml.bz2", Parse: Parse, Records: vulnerability, Long: true},
		{Name: folder + "bionic.cve.oval.xml.bz2", Parse: Parse, Records: vulnerability, Long: true},
		{Name: folder + "xenial.cve.oval.xml.bz2", Parse: Parse, Records: vulnerability, Long: true},
	})
}

func TestFeed(t *testing.T) {
	cve, usn, namespace := Feed("noble")
	want := []string{Address + "com.ubuntu.noble.cve.oval.xml.bz2", Address + "com.ubuntu.noble.usn.oval.xml.bz2", "ubuntu:24.04"}
	if diff := cmp.Diff(want, []string{cve, usn, namespace}); diff != "" {
		t.Error(diff)
	}
}

func TestReadComment(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  comment
		about bool
		fails bool
	}{
		{"gcc-mingw-w64 package in focal is affected and may need fixing.", comment{"gcc-mingw-w64", needsTriage, ""}, true, false},
		{"The vulnerability of the 'brotli' package in xenial is not known (status: 'needs-triage'). It is pending evaluation.", comment{"brotli", needsTriage, ""}, true, false},
		{"libpng1.6 package in bionic was vulnerable but has been fixed (note: '1.6.34-1').", comment{"libpng1.6", released, "1.6.34-1"}, true, false},
		{"gtk+2.0 package in bionic is affected, but a decision has been made to defer addressing it.", comment{"gtk+2.0", deferred, ""}, true, false},
		{"openssh source package in noble, is affected and has been fixed (note: '1:9.6p1-3ubuntu13.3').", comment{"openssh", released, "1:9.6p1-3ubuntu13.3"}, true, false},
		{"'linux' kernel in noble was vulnerable but has been fixed (note: '6.8.0-84.84').", comment{"linux", released, "6.8.0-84.84"}, true, false},
		{"xine-ui: while related to the CVE in some way, a decision has been made to ignore this issue (note: 'it's old').", comment{"xine-ui", ignored, "it's old"}, true, false},
		{"The 'ruby1.9.1' package in trusty is affected and needs fixing.", comment{"ruby1.9.1", needed, ""}, true, false},
		{"Is kernel 'linux' running?", comment{}, false, false},
		{"The host is running Ubuntu focal.", comment{}, false, false},
		{"tongs package in noble is somewhat affected.", comment{source: "tongs"}, true, true},
		{"Nobody knows.", comment{}, true, true},
		{"", comment{}, true, true},
	} {
		got, about, err := readComment(c.text)
		if got != c.want || about != c.about || (err != nil) != c.fails {
			t.Errorf("%q: %+v, %t, %v", c.text, got, about, err)
		}
	}
}

func TestReadSources(t *testing.T) {
	document, err := os.ReadFile("testdata/cve.xml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadSources(ovaltest.Open(document))
	if err != nil {
		t.Fatal(err)
	}
	if got["locksmith"] != "locksmith" || got["libanvil1"] == "" || got["linux"] != "" {
		t.Errorf("%v", got)
	}
}

func TestSourcesOf(t *testing.T) {
	sources := Sources{"libpq5": "postgresql-12", "libecpg6": "postgresql-12", "liboath-dev": "oath-toolkit"}
	for _, c := range []struct {
		binaries []string
		want     []string
		sure     bool
	}{
		{[]string{"liboath0t64", "liboath-dev"}, []string{"oath-toolkit"}, true},
		{[]string{"libecpg6", "libpq5", "postgresql-14"}, []string{"postgresql-14"}, true},
		{[]string{"libc6", "libc-bin"}, []string{"glibc"}, true},
		{[]string{"openjdk-17-jdk", "openjdk-17-jre"}, []string{"openjdk-17"}, true},
		{[]string{"gcc-12-base", "libgcc-s1"}, []string{"gcc-12"}, true},
		{[]string{"libfoo2t64", "libfoo-dev"}, []string{"foo", "libfoo", "libfoo-dev", "libfoo2t64"}, false},
		{[]string{"python3-idna"}, []string{"idna", "python-idna", "python3-idna"}, false},
	} {
		got, sure := sources.of(c.binaries)
		if diff := cmp.Diff(c.want, got); diff != "" || sure != c.sure {
			t.Errorf("%v: sure %t, (-want +got):\n%s", c.binaries, sure, diff)
		}
	}
}
