package distro

import (
	"slices"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/version"
)

func TestNamespace(t *testing.T) {
	for _, c := range []struct {
		d     Distribution
		want  string
		known bool
	}{
		{Distribution{ID: "debian", VersionID: "12"}, "debian:12", true},
		{Distribution{ID: "debian", VersionID: "10.3"}, "debian:10", true},
		{Distribution{ID: "debian", VersionID: "3.1"}, "debian:3.1", true},
		{Distribution{ID: "debian", VersionID: "4.0"}, "debian:4", true},
		{Distribution{ID: "debian", Codename: "trixie"}, "debian:13", true},
		{Distribution{ID: "debian", Codename: "sid"}, "debian:sid", true},
		{Distribution{ID: "debian", Codename: "never"}, "debian", false},
		{Distribution{ID: "ubuntu", VersionID: "22.04"}, "ubuntu:22.04", true},
		{Distribution{ID: "ubuntu", VersionID: "22.04.4"}, "ubuntu:22.04", true},
		{Distribution{ID: "ubuntu", Codename: "resolute"}, "ubuntu:26.04", true},
		{Distribution{ID: "alpine", VersionID: "3.20.3"}, "alpine:3.20", true},
		{Distribution{ID: "alpine", VersionID: "3.20"}, "alpine:3.20", true},
		{Distribution{ID: "alpine", VersionID: "3.20.0_rc2"}, "alpine:3.20", true},
		{Distribution{ID: "alpine", VersionID: "3.21.0_alpha20240807"}, "alpine:edge", true},
		{Distribution{ID: "alpine", VersionID: "3.23.0", Pretty: "Alpine Linux edge"}, "alpine:edge", true},
		{Distribution{ID: "alpine", VersionID: "edge"}, "alpine:edge", true},
		{Distribution{ID: "alpine", VersionID: "3"}, "alpine:3", false},
		{Distribution{ID: "wolfi", VersionID: "20230201"}, "wolfi", true},
		{Distribution{ID: "chainguard", VersionID: "20230214"}, "chainguard", true},
		{Distribution{ID: "rhel", VersionID: "9.2"}, "rhel:9", true},
		{Distribution{ID: "centos", VersionID: "5.11"}, "centos:5", true},
		{Distribution{ID: "rocky", VersionID: "9.2"}, "rocky:9", true},
		{Distribution{ID: "almalinux", VersionID: "8.10"}, "almalinux:8", true},
		{Distribution{ID: "ol", VersionID: "7.9"}, "oracle:7", true},
		{Distribution{ID: "amzn", VersionID: "2"}, "amzn:2", true},
		{Distribution{ID: "amzn", VersionID: "2023"}, "amzn:2023", true},
		{Distribution{ID: "amzn", VersionID: "2017.09"}, "amzn:1", true},
		{Distribution{ID: "fedora", VersionID: "40"}, "fedora:40", true},
		{Distribution{ID: "sles", VersionID: "15.5"}, "sles:15.5", true},
		{Distribution{ID: "opensuse-leap", VersionID: "15.5"}, "opensuse-leap:15.5", true},
		{Distribution{ID: "opensuse-tumbleweed", VersionID: "20240101"}, "opensuse-tumbleweed", true},
		{Distribution{ID: "photon", VersionID: "4.0"}, "photon:4", true},
		{Distribution{ID: "mariner", VersionID: "2.0"}, "mariner:2", true},
		{Distribution{ID: "azurelinux", VersionID: "3.0"}, "azurelinux:3", true},
		{Distribution{ID: "raspbian", VersionID: "11"}, "raspbian:11", false},
		{Distribution{ID: "rhel"}, "rhel", false},
		{Distribution{}, "", false},
	} {
		if got, known := c.d.Namespace(); got != c.want || known != c.known {
			t.Errorf("%+v: got %q, %t, want %q, %t", c.d, got, known, c.want, c.known)
		}
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		d     Distribution
		want  Rules
		known bool
	}{
		{Distribution{ID: "debian", VersionID: "12"}, Rules{version.Dpkg, BySource, "debian:12"}, true},
		{Distribution{ID: "wolfi"}, Rules{version.APK, BySource, "wolfi"}, true},
		{Distribution{ID: "centos", VersionID: "7"}, Rules{version.RPM, ByBinary, "rhel:7"}, true},
		{Distribution{ID: "raspbian", VersionID: "11"}, Rules{}, false},
		{Distribution{}, Rules{}, false},
	} {
		if got, known := c.d.Rules(); got != c.want || known != c.known {
			t.Errorf("%+v: got %+v, %t, want %+v, %t", c.d, got, known, c.want, c.known)
		}
	}
}

// TestCodenames holds the table to what makes it work both ways: no code name and no version twice.
func TestCodenames(t *testing.T) {
	for id, releases := range codenames {
		for _, r := range releases {
			if v, ok := Version(id, r.codename); !ok || v != r.version {
				t.Errorf("Version(%q, %q) = %q, %t", id, r.codename, v, ok)
			}
			if c, ok := Codename(id, r.version); !ok || c != r.codename {
				t.Errorf("Codename(%q, %q) = %q, %t", id, r.version, c, ok)
			}
			d := Distribution{ID: id, VersionID: r.version}
			if ns, ok := d.Namespace(); r.version != sid && (!ok || ns != id+":"+r.version) {
				t.Errorf("%+v: namespace %q, %t", d, ns, ok)
			}
		}
	}
	if _, ok := Version("alpine", "bookworm"); ok {
		t.Error("a code name belongs to its distribution")
	}
}

// TestFamilies keeps the table in order: one line for an ID, and every line can be reached.
func TestFamilies(t *testing.T) {
	var ids []string
	for _, f := range families {
		if slices.Contains(ids, f.id) {
			t.Errorf("%s stands twice", f.id)
		}
		ids = append(ids, f.id)
		if _, ok := (Distribution{ID: f.id, VersionID: "7.1"}).Namespace(); !ok {
			t.Errorf("%s 7.1 is not known", f.id)
		}
	}
}
