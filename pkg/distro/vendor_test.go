package distro

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVendorFiles(t *testing.T) {
	for _, c := range []struct {
		parse Parser
		text  string
		want  Distribution
	}{
		{ParseRedHatRelease, "CentOS release 5.11 (Final)\n", Distribution{ID: "centos", VersionID: "5.11", Codename: "final"}},
		{ParseRedHatRelease, "CentOS Linux release 7.9.2009 (Core)\n", Distribution{ID: "centos", VersionID: "7.9.2009", Codename: "core"}},
		{ParseRedHatRelease, "CentOS Stream release 9\n", Distribution{ID: "centos", VersionID: "9"}},
		{ParseRedHatRelease, "Red Hat Enterprise Linux Server release 6.10 (Santiago)\n", Distribution{ID: "rhel", VersionID: "6.10", Codename: "santiago"}},
		{ParseRedHatRelease, "Red Hat Enterprise Linux release 8.4 (Ootpa)", Distribution{ID: "rhel", VersionID: "8.4", Codename: "ootpa"}},
		{ParseRedHatRelease, "Red Hat Enterprise Linux AS release 4 (Nahant Update 8)\n", Distribution{ID: "rhel", VersionID: "4", Codename: "nahant update 8"}},
		{ParseRedHatRelease, "Oracle Linux Server release 7.9\n", Distribution{ID: "ol", VersionID: "7.9"}},
		{ParseRedHatRelease, "Enterprise Linux Enterprise Linux Server release 5.11 (Carthage)\n", Distribution{ID: "ol", VersionID: "5.11", Codename: "carthage"}},
		{ParseRedHatRelease, "Rocky Linux release 9.2 (Blue Onyx)\n", Distribution{ID: "rocky", VersionID: "9.2", Codename: "blue onyx"}},
		{ParseRedHatRelease, "AlmaLinux release 9.2 (Turquoise Kodkod)\n", Distribution{ID: "almalinux", VersionID: "9.2", Codename: "turquoise kodkod"}},
		{ParseRedHatRelease, "Amazon Linux AMI release 2018.03\n", Distribution{ID: "amzn", VersionID: "2018.03"}},
		{ParseRedHatRelease, "Amazon Linux release 2 (Karoo)\n", Distribution{ID: "amzn", VersionID: "2", Codename: "karoo"}},
		{ParseRedHatRelease, "Fedora release 33 (Thirty Three)\n", Distribution{ID: "fedora", VersionID: "33", Codename: "thirty three"}},
		{ParseRedHatRelease, "MIRACLE LINUX release 8.4 (Peony)\n", Distribution{ID: "miracle-linux", VersionID: "8.4", Codename: "peony"}},
		{ParseSuSERelease, "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n", Distribution{ID: "sles", VersionID: "11.4"}},
		{ParseSuSERelease, "SUSE Linux Enterprise Server 12 (x86_64)\nVERSION = 12\nPATCHLEVEL = 0\n# deprecated\n", Distribution{ID: "sles", VersionID: "12"}},
		{ParseSuSERelease, "openSUSE 13.2 (x86_64)\nVERSION = 13.2\nCODENAME = Harlequin\n", Distribution{ID: "opensuse", VersionID: "13.2"}},
		{ParseAlpineRelease, "3.20.3\n", Distribution{ID: "alpine", VersionID: "3.20.3"}},
		{ParseAlpineRelease, "3.21.0_alpha20240807\n", Distribution{ID: "alpine", VersionID: "3.21.0_alpha20240807"}},
		{ParseDebianVersion, "12.5\n", Distribution{ID: "debian", VersionID: "12.5", Codename: "bookworm"}},
		{ParseDebianVersion, "3.1\n", Distribution{ID: "debian", VersionID: "3.1", Codename: "sarge"}},
		{ParseDebianVersion, "trixie/sid\n", Distribution{ID: "debian", Codename: "trixie"}},
		{ParseLSBRelease, "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=14.04\nDISTRIB_CODENAME=trusty\nDISTRIB_DESCRIPTION=\"Ubuntu 14.04 LTS\"\n", Distribution{ID: "ubuntu", VersionID: "14.04", Codename: "trusty"}},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := c.parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got.Pretty == "" {
				t.Error("no pretty name")
			}
			got.Pretty = ""
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	rhel := Distribution{ID: "rhel", VersionID: "7.9"}
	oracle := Distribution{ID: "ol", VersionID: "7.9"}
	debian := Distribution{ID: "debian", Codename: "buster"}
	ubuntu := Distribution{ID: "ubuntu", VersionID: "18.04"}
	for _, c := range []struct {
		name     string
		found    map[string]Distribution
		want     Distribution
		evidence string
	}{
		{"nothing", nil, Distribution{}, ""},
		{"Oracle carries Red Hat's file", map[string]Distribution{"etc/redhat-release": rhel, "etc/oracle-release": oracle}, oracle, "etc/oracle-release"},
		{"Ubuntu carries Debian's file", map[string]Distribution{"etc/debian_version": debian, "etc/lsb-release": ubuntu}, ubuntu, "etc/lsb-release"},
		{"etc over usr/lib", map[string]Distribution{"usr/lib/os-release": rhel, "etc/os-release": oracle}, oracle, "etc/os-release"},
		{"usr/lib over the rest", map[string]Distribution{"usr/lib/os-release": ubuntu, "etc/debian_version": debian}, ubuntu, "usr/lib/os-release"},
		{"a file that says nothing does not decide", map[string]Distribution{"etc/os-release": {}, "etc/debian_version": debian}, debian, "etc/debian_version"},
		{"a path that is no release file", map[string]Distribution{"opt/os-release": rhel}, Distribution{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, evidence := Choose(c.found)
			if got != c.want || evidence != c.evidence {
				t.Errorf("got %+v from %q, want %+v from %q", got, evidence, c.want, c.evidence)
			}
		})
	}
}
