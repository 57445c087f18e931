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
	raspbian = distro.Distribution{ID: "raspbian", VersionID: "11"}
)

func TestReleaseOf(t *testing.T) {
	libssl := Package{Kind: Deb, Name: "libssl3", Version: "3.0.15-1~deb12u1", Arch: "amd64", SourceName: "openssl", SourceVersion: "3.0.15-1~deb12u1"}
	gccBase := Package{Kind: Deb, Name: "gcc", Version: "4:12.2.0-3", SourceName: "gcc-defaults", SourceVersion: "1.203"}
	musl := Package{Kind: APK, Name: "musl-utils", Version: "1.2.5-r0", SourceName: "musl", SourceVersion: "1.2.5-r0"}
	bind := Package{Kind: RPM, Name: "bind-libs", Version: "30:9.3.6-25.P1.el5_11.5", SourceName: "bind", SourceVersion: "30:9.3.6-25.P1.el5_11.5"}
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
