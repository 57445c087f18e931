package inventory

import (
	"testing"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/version"
)

var (
	debian12 = distro.Distribution{ID: "debian", VersionID: "12"}
	alpine   = distro.Distribution{ID: "alpine", VersionID: "3.20.3"}
	centos5  = distro.Distribution{ID: "centos", VersionID: "5"}
	rocky9   = distro.Distribution{ID: "rocky", VersionID: "9.2"}
	oracle8  = distro.Distribution{ID: "ol", VersionID: "8.9"}
	raspbian = distro.Distribution{ID: "raspbian", VersionID: "11"}
)

func TestReleaseOf(t *testing.T) {
	libssl := Package{Kind: Deb, Name: "libssl3", Version: "3.0.15-1~deb12u1", Arch: "amd64", SourceName: "openssl", SourceVersion: "3.0.15-1~deb12u1"}
	gccBase := Package{Kind: Deb, Name: "gcc", Version: "4:12.2.0-3", SourceName: "gcc-defaults", SourceVersion: "1.203"}
	musl := Package{Kind: APK, Name: "musl-utils", Version: "1.2.5-r0", SourceName: "musl", SourceVersion: "1.2.5-r0"}
	bind := Package{Kind: RPM, Name: "bind-libs", Version: "30:9.3.6-25.P1.el5_11.5", SourceName: "bind", SourceVersion: "30:9.3.6-25.P1.el5_11.5"}
	nodejs := Package{Kind: RPM, Name: "npm", Version: "1:9.5.0-1.18.14.2.3.module+el9.2.0+14843+acebbfea", SourceName: "nodejs", Module: "nodejs:18:9020020230327152102:rhel9"}
	built := func(name, version string) Package {
		return Package{Kind: RPM, Name: name, Version: version, SourceName: name, SourceVersion: version}
	}
	for _, c := range []struct {
		name   string
		distro distro.Distribution
		pkg    Package
		want   Release
	}{
		{"a deb is its source package", debian12, libssl, Release{"debian:12", version.Dpkg, "openssl", "3.0.15-1~deb12u1"}},
		{"in the version of the source", debian12, gccBase, Release{"debian:12", version.Dpkg, "gcc-defaults", "1.203"}},
		{"an apk is its origin", alpine, musl, Release{"alpine:3.20", version.APK, "musl", "1.2.5-r0"}},
		{"an rpm is itself, and CentOS has Red Hat's advisories", centos5, bind, Release{"rhel:5", version.RPM, "bind-libs", "30:9.3.6-25.P1.el5_11.5"}},
		{"an rpm of a module is one of its stream", rocky9, nodejs, Release{"rocky:9", version.RPM, "nodejs:18/npm", nodejs.Version}},
		{"a label without a stream", rocky9, Package{Kind: RPM, Name: "npm", Version: "1-1", Module: "nodejs"}, Release{"rocky:9", version.RPM, "nodejs/npm", "1-1"}},
		{"Oracle's openssl", oracle8, built("openssl", "1:1.1.1k-9.el8_7"), Release{"oracle:8", version.RPM, "openssl", "1:1.1.1k-9.el8_7"}},
		{"Oracle's openssl for Ksplice", oracle8, built("openssl", "2:1.1.1g-15.ksplice1.el8_3"), Release{"oracle:8", version.RPM, "ksplice/openssl", "2:1.1.1g-15.ksplice1.el8_3"}},
		{"Oracle's gnutls for FIPS", oracle8, built("gnutls", "10:3.6.16-4.0.1.el8_fips"), Release{"oracle:8", version.RPM, "fips/gnutls", "10:3.6.16-4.0.1.el8_fips"}},
		{"only Oracle has such builds", rocky9, built("fips-mode", "1-1.fips"), Release{"rocky:9", version.RPM, "fips-mode", "1-1.fips"}},
		{"a derivative is no Debian", raspbian, libssl, Release{"raspbian:11", version.Dpkg, "openssl", "3.0.15-1~deb12u1"}},
		{"a deb on Alpine is in a namespace of its own", alpine, libssl, Release{"alpine:3.20/deb", version.Dpkg, "openssl", "3.0.15-1~deb12u1"}},
		{"no distribution", distro.Distribution{}, bind, Release{"unknown/rpm", version.RPM, "bind-libs", "30:9.3.6-25.P1.el5_11.5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ReleaseOf(c.distro, c.pkg); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestPURL(t *testing.T) {
	for _, c := range []struct {
		distro distro.Distribution
		pkg    Package
		want   string
	}{
		{debian12, Package{Kind: Deb, Name: "libssl3", Version: "3.0.15-1~deb12u1", Arch: "amd64", SourceName: "openssl", SourceVersion: "3.0.15-1~deb12u1"},
			"pkg:deb/debian/libssl3@3.0.15-1~deb12u1?arch=amd64&distro=debian-12&upstream=openssl"},
		{debian12, Package{Kind: Deb, Name: "gcc", Version: "4:12.2.0-3", Arch: "amd64", SourceName: "gcc-defaults", SourceVersion: "1.203"},
			"pkg:deb/debian/gcc@4:12.2.0-3?arch=amd64&distro=debian-12&upstream=gcc-defaults%401.203"},
		{centos5, Package{Kind: RPM, Name: "bind-libs", Version: "30:9.3.6-25.P1.el5", Arch: "x86_64", SourceName: "bind-libs", SourceVersion: "30:9.3.6-25.P1.el5"},
			"pkg:rpm/centos/bind-libs@9.3.6-25.P1.el5?arch=x86_64&distro=centos-5&epoch=30"},
		{distro.Distribution{}, Package{Kind: APK, Name: "musl", Version: "1.2.5-r0", SourceName: "musl", SourceVersion: "1.2.5-r0"},
			"pkg:apk/musl@1.2.5-r0"},
	} {
		if got := PURL(c.distro, c.pkg); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestSourceReleaseOf(t *testing.T) {
	libs := Package{Kind: RPM, Name: "openssl-libs", Version: "1:3.0.7-27.el9", SourceName: "openssl", SourceVersion: "3.0.7-27.el9"}
	node := Package{Kind: RPM, Name: "npm", Version: "1:8.19.4-1.el9", SourceName: "nodejs", SourceVersion: "18.14.2-3.el9", Module: "nodejs:18:9010020221118120946:rhel9"}
	rhel9 := distro.Distribution{ID: "rhel", VersionID: "9.2"}
	if got, ok := SourceReleaseOf(rhel9, libs); !ok || got != (Release{"rhel:9", version.RPM, "openssl.src", "3.0.7-27.el9"}) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if got, ok := SourceReleaseOf(rhel9, node); !ok || got.Name != "nodejs:18/nodejs.src" {
		t.Errorf("in a module: got %+v, %v", got, ok)
	}
	if got, ok := SourceReleaseOf(debian12, Package{Kind: Deb, Name: "a", Version: "1", SourceName: "b", SourceVersion: "1"}); ok {
		t.Errorf("Debian's releases are source packages anyway: got %+v", got)
	}
}
