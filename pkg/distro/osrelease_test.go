package distro

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestParseOSRelease(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Distribution
	}{
		{
			"Debian 12", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n",
			Distribution{ID: "debian", VersionID: "12", Codename: "bookworm", Pretty: "Debian GNU/Linux 12 (bookworm)"},
		},
		{
			"Debian 8 has its code name in VERSION only", "PRETTY_NAME=\"Debian GNU/Linux 8 (jessie)\"\nVERSION_ID=\"8\"\nVERSION=\"8 (jessie)\"\nID=debian\n",
			Distribution{ID: "debian", VersionID: "8", Codename: "jessie", Pretty: "Debian GNU/Linux 8 (jessie)"},
		},
		{
			"Debian unstable has no version", "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nNAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=forky\nID=debian\n",
			Distribution{ID: "debian", Codename: "forky", Pretty: "Debian GNU/Linux forky/sid"},
		},
		{
			"an old Debian testing has it in PRETTY_NAME only", "PRETTY_NAME=\"Debian GNU/Linux stretch/sid\"\nID=debian\n",
			Distribution{ID: "debian", Codename: "stretch", Pretty: "Debian GNU/Linux stretch/sid"},
		},
		{
			"Ubuntu 14.04", "NAME=\"Ubuntu\"\nVERSION=\"14.04, Trusty Tahr\"\nID=ubuntu\nID_LIKE=debian\nPRETTY_NAME=\"Ubuntu 14.04 LTS\"\nVERSION_ID=\"14.04\"\n",
			Distribution{ID: "ubuntu", VersionID: "14.04", Codename: "trusty", Pretty: "Ubuntu 14.04 LTS"},
		},
		{
			"single quotes, comments, spaces, CRLF, a byte order mark", "\ufeff# a comment\r\n  ID='alpine' # another\r\nVERSION_ID=3.20.3\t\r\n\r\nPRETTY_NAME='Alpine Linux v3.20'\r\n",
			Distribution{ID: "alpine", VersionID: "3.20.3", Pretty: "Alpine Linux v3.20"},
		},
		{
			"escapes", `ID=x` + "\n" + `PRETTY_NAME="a \"b\" \$c \\ \n"` + "\n" + `CPE_NAME=cpe:\/o:x`,
			Distribution{ID: "x", Pretty: `a "b" $c \ \n`, CPE: "cpe:/o:x"},
		},
		{
			"lines that are no assignments are skipped; the last assignment counts", "hello\nID=a\n=b\nFOO=\"\nID=RHEL\n",
			Distribution{ID: "rhel"},
		},
		{
			"Red Hat has a CPE", "ID=\"rhel\"\nVERSION_ID=\"9.2\"\nCPE_NAME=\"cpe:/o:redhat:enterprise_linux:9::baseos\"\n",
			Distribution{ID: "rhel", VersionID: "9.2", CPE: "cpe:/o:redhat:enterprise_linux:9::baseos"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseOSRelease(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse Parser
		text  string
		kind  fault.Kind
		none  bool // ErrNoDistribution
	}{
		{"empty", ParseOSRelease, "", fault.Corrupt, true},
		{"no ID", ParseOSRelease, "NAME=x\n", fault.Corrupt, true},
		{"open quote", ParseOSRelease, "ID=\"debian\n", fault.Corrupt, false},
		{"trailing backslash", ParseOSRelease, "ID=debian\\", fault.Corrupt, false},
		{"control character", ParseOSRelease, "ID=deb\x1bian\n", fault.Corrupt, false},
		{"a value without end", ParseOSRelease, "ID=" + strings.Repeat("x", 1000), fault.Corrupt, false},
		{"a file without end", ParseOSRelease, strings.Repeat("#", MaxFileBytes+1), fault.TooLarge, false},
		{"lsb without ID", ParseLSBRelease, "DISTRIB_RELEASE=1\n", fault.Corrupt, true},
		{"red hat without release", ParseRedHatRelease, "CentOS 7\n", fault.Corrupt, true},
		{"red hat without version", ParseRedHatRelease, "CentOS release seven\n", fault.Corrupt, true},
		{"red hat of nobody", ParseRedHatRelease, "() release 7\n", fault.Corrupt, true},
		{"suse without version", ParseSuSERelease, "openSUSE\n", fault.Corrupt, true},
		{"alpine words", ParseAlpineRelease, "3.2 or so\n", fault.Corrupt, true},
		{"alpine binary", ParseAlpineRelease, "\x00\x01", fault.Corrupt, false},
		{"kali is no debian", ParseDebianVersion, "kali-rolling\n", fault.Corrupt, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := c.parse(c.text)
			if err == nil {
				t.Fatalf("got %+v, want an error", d)
			}
			if got := fault.KindOf(err); got != c.kind {
				t.Errorf("kind %v, want %v: %v", got, c.kind, err)
			}
			if got := errors.Is(err, ErrNoDistribution); got != c.none {
				t.Errorf("ErrNoDistribution is %t, want %t: %v", got, c.none, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "ID=debian\nVERSION_ID=\"12\"\n", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=14.04\n", "CentOS release 5.11 (Final)\n",
		"SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n", "3.20.3\n", "trixie/sid\n", "ID='\\\"", "export ID=x#y",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, file := range Files {
			d, err := file.Parse(text)
			if (err != nil) != d.IsZero() {
				t.Errorf("%s: %+v with error %v", file.Path, d, err)
			}
			if err == nil && d.ID == "" {
				t.Errorf("%s: no ID in %+v", file.Path, d)
			}
			ns, known := d.Namespace()
			if _, ok := d.Rules(); ok != known || known && ns == "" {
				t.Errorf("%s: %+v: namespace %q, %t", file.Path, d, ns, known)
			}
		}
	})
}
