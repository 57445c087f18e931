package extract

import (
	"archive/tar"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/limits"
)

// TestEntries tells what layers say, entry by entry. One more pass is needed only where it is said.
func TestEntries(t *testing.T) {
	const dpkgStatus, apkInstalled = "var/lib/dpkg/status", "lib/apk/db/installed"
	for _, c := range []struct {
		name    string
		entries []tar.Header
		want    []string
		passes  int // 0 is 1
	}{
		{"nothing", nil, nil, 0},
		{"what nobody looks for", []tar.Header{dir("etc/"), file("etc/passwd", "root"), file("opt/var/lib/dpkg/status", status("a"))}, nil, 0},
		{"a Debian", []tar.Header{file("etc/debian_version", "12.5\n"), symlink("etc/os-release", "../usr/lib/os-release"), file("usr/lib/os-release", debianRelease), file(dpkgStatus, status("b", "a"))},
			[]string{"release etc/debian_version: debian", "release usr/lib/os-release: debian", "database var/lib/dpkg/status: a b", "removed etc/os-release"}, 0},
		{"names with dots and slashes", []tar.Header{file("./etc/os-release", debianRelease), file("/usr/lib/os-release", debianRelease), file("./var//lib/./x/../dpkg/status", status("a"))},
			[]string{"release etc/os-release: debian", "release usr/lib/os-release: debian", "database var/lib/dpkg/status: a"}, 0},
		{"a distroless image", []tar.Header{dir("var/lib/dpkg/status.d/"), file("var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12\n"), file("var/lib/dpkg/status.d/base.md5sums", "not a stanza\n"), file("var/lib/dpkg/status.d/more/x", "no")},
			[]string{"database var/lib/dpkg/status.d/base: base-files"}, 0},
		{"an empty database is one", []tar.Header{file(dpkgStatus, "")}, []string{"database var/lib/dpkg/status:"}, 0},
		{"a release file that says nothing hides and is no problem", []tar.Header{file("etc/os-release", ""), file("etc/lsb-release", "LSB_VERSION=base-4.0-amd64\n")},
			[]string{"removed etc/lsb-release", "removed etc/os-release"}, 0},
		{"a release file that is broken", []tar.Header{file("etc/os-release", "ID=\"debian\n")},
			[]string{"removed etc/os-release", "problem etc/os-release: parse os-release: line 1: ID: quote is not closed"}, 0},
		{"a broken record among others", []tar.Header{file(dpkgStatus, status("a")+"Package: x\n\n\n\nVersion: 3\n\n"+status("b"))},
			[]string{"database var/lib/dpkg/status: a b", "problem var/lib/dpkg/status: stanza at line 5 (x): no Version (and 1 more)"}, 0},
		{"a package whose name cannot be one", []tar.Header{file(apkInstalled, installed("a", "b c", "\xff"))},
			[]string{"database lib/apk/db/installed: a", `problem lib/apk/db/installed: package "b c": name "b c" (and 1 more)`}, 0},

		{"the last of a name counts", []tar.Header{file(dpkgStatus, status("a")), file("./"+dpkgStatus, status("b"))}, []string{"database var/lib/dpkg/status: b"}, 0},
		{"a directory in its place", []tar.Header{file(dpkgStatus, status("a")), dir(dpkgStatus + "/")}, []string{"removed var/lib/dpkg/status"}, 0},
		{"a pipe in its place", []tar.Header{file(dpkgStatus, status("a")), fifo(dpkgStatus)}, []string{"removed var/lib/dpkg/status"}, 0},
		{"a file in place of a directory above it", []tar.Header{file(dpkgStatus, status("a")), file("var/lib", "x")}, []string{"removed var/lib"}, 0},
		{"and the other way round", []tar.Header{file("var/lib", "x"), dir("var/lib"), file(dpkgStatus, status("a"))}, []string{"database var/lib/dpkg/status: a", "removed var/lib"}, 0},

		{"whiteouts", []tar.Header{file("var/lib/dpkg/.wh.status", ""), file("etc/.wh.os-release", ""), file("lib/.wh.apk", ""), file("etc/.wh.passwd", ""), file("opt/.wh.var", "")},
			[]string{"removed etc/os-release", "removed lib/apk", "removed var/lib/dpkg/status"}, 0},
		{"a whiteout and its file", []tar.Header{file("var/lib/dpkg/.wh.status", ""), file(dpkgStatus, status("a"))}, []string{"database var/lib/dpkg/status: a"}, 0},
		{"whiteouts below others", []tar.Header{file(".wh.var", ""), file("var/lib/dpkg/.wh.status", ""), file("var/lib/.wh.dpkg", "")}, []string{"removed var"}, 0},
		{"opaque directories", []tar.Header{file("var/lib/dpkg/.wh..wh..opq", ""), file("opt/.wh..wh..opq", ""), file("var/lib/dpkg/.wh.status", ""), file("etc/.wh..wh..opq", "")},
			[]string{"opaque etc", "opaque var/lib/dpkg"}, 0},
		{"an opaque directory with a file", []tar.Header{file("var/lib/dpkg/.wh..wh..opq", ""), file(dpkgStatus, status("a"))}, []string{"database var/lib/dpkg/status: a", "opaque var/lib/dpkg"}, 0},
		{"an opaque root", []tar.Header{file(".wh..wh..opq", ""), file("etc/.wh.os-release", "")}, []string{"opaque ."}, 0},
		{"an opaque status.d", []tar.Header{file("var/lib/dpkg/status.d/.wh..wh..opq", ""), file("var/lib/dpkg/status.d/.wh.x", "")}, []string{"opaque var/lib/dpkg/status.d"}, 0},
		{"whiteouts of nothing", []tar.Header{file("var/lib/dpkg/.wh.", ""), file("var/lib/dpkg/.wh..", ""), file("var/lib/dpkg/.wh...", ""), file("var/.wh..wh.plnk", ""), file("var/lib/.wh..wh.aufs", "")}, nil, 0},

		{"names that climb", []tar.Header{file("../etc/os-release", debianRelease), file("a/../../var/lib/dpkg/status", status("a")), file("../../etc/passwd", "x"), symlink("../lib", "x")},
			[]string{`problem etc/os-release: an entry named "../etc/os-release" leads out of the archive, and was ignored`, `problem var/lib/dpkg/status: an entry named "a/../../var/lib/dpkg/status" leads out of the archive, and was ignored`}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			layer, stats := analyze(t, pack(t, c.entries...))
			if diff := cmp.Diff(c.want, printed(layer)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if want := max(c.passes, 1); stats.Passes != want {
				t.Errorf("%d passes, want %d", stats.Passes, want)
			}
			if stats.Entries != int64(len(c.entries)) {
				t.Errorf("%d entries, want %d", stats.Entries, len(c.entries))
			}
		})
	}
}

// TestLinks is about links that lead to what is looked for.
func TestLinks(t *testing.T) {
	rpm := "usr/lib/sysimage/rpm"
	for _, c := range []struct {
		name    string
		entries []tar.Header
		want    []string
		passes  int // 0 is 1
	}{
		{"to a path that is looked for itself", []tar.Header{symlink("etc/os-release", "../usr/lib/os-release"), symlink("var/lib/rpm", "../../"+rpm), symlink("lib", "usr/lib"), file("usr/lib/apk/db/installed", installed("a"))},
			[]string{"database usr/lib/apk/db/installed: a", "removed etc/os-release", "removed lib", "removed var/lib/rpm"}, 0},
		{"symbolic, before its target", []tar.Header{symlink("etc/os-release", "/nix/store/x/os-release"), file("nix/store/x/os-release", debianRelease)},
			[]string{"release etc/os-release: debian"}, 0},
		{"symbolic, behind its target", []tar.Header{file("nix/store/x/os-release", debianRelease), symlink("etc/os-release", "/nix/store/x/os-release")},
			[]string{"release etc/os-release: debian"}, 2},
		{"hard, as links are", []tar.Header{file("ostree/objects/ab", status("a")), hardlink("var/lib/dpkg/status", "ostree/objects/ab")},
			[]string{"database var/lib/dpkg/status: a"}, 2},
		{"hard, before its target", []tar.Header{hardlink("var/lib/dpkg/status", "./ostree/objects/ab"), file("ostree/objects/ab", status("a"))},
			[]string{"database var/lib/dpkg/status: a"}, 0},
		{"hard, to a path that is looked for", []tar.Header{file("usr/lib/os-release", debianRelease), hardlink("etc/os-release", "usr/lib/os-release")},
			[]string{"release usr/lib/os-release: debian", "removed etc/os-release"}, 0},
		{"from one that nobody looks for", []tar.Header{file("var/lib/dpkg/status", status("a")), hardlink("backup", "var/lib/dpkg/status"), symlink("copy", "var/lib/dpkg/status")},
			[]string{"database var/lib/dpkg/status: a"}, 0},
		{"through other links", []tar.Header{symlink("etc/os-release", "static/os-release"), symlink("etc/static", "/nix/store/x"), symlink("nix/store/x", "y/etc"), file("nix/store/y/etc/os-release", debianRelease)},
			[]string{"release etc/os-release: debian"}, 0},
		{"through other links, backwards", []tar.Header{file("nix/store/y/etc/os-release", debianRelease), symlink("nix/store/x", "y/etc"), symlink("etc/static", "/nix/store/x"), symlink("etc/os-release", "static/os-release")},
			[]string{"release etc/os-release: debian"}, 2},
		{"a directory", []tar.Header{symlink("var/lib/dpkg", "/opt/dpkg"), file("opt/dpkg/status", status("a")), file("opt/dpkg/status.d/b", "Package: b\nVersion: 1\n"), file("opt/dpkg/status.d/b.md5sums", "x")},
			[]string{"database var/lib/dpkg/status: a", "database var/lib/dpkg/status.d/b: b", "removed var/lib/dpkg"}, 0},
		{"a directory, behind", []tar.Header{file("opt/dpkg/status", status("a")), file("opt/dpkg/status.d/b", "Package: b\nVersion: 1\n"), symlink("var/lib/dpkg", "/opt/dpkg")},
			[]string{"database var/lib/dpkg/status: a", "database var/lib/dpkg/status.d/b: b", "removed var/lib/dpkg"}, 2},
		{"a file of status.d", []tar.Header{symlink("var/lib/dpkg/status.d/b", "../../../../b"), file("b", "Package: b\nVersion: 1\n")},
			[]string{"database var/lib/dpkg/status.d/b: b"}, 0},
		{"a file of status.d, behind", []tar.Header{file("b", "Package: b\nVersion: 1\n"), hardlink("var/lib/dpkg/status.d/b", "b")},
			[]string{"database var/lib/dpkg/status.d/b: b"}, 2},
		{"in a circle", []tar.Header{symlink("etc/os-release", "os-release"), symlink("var/lib/dpkg", "../x"), symlink("var/x", "lib/dpkg")},
			[]string{"removed etc/os-release", "removed var/lib/dpkg"}, 0},
		{"out of the archive", []tar.Header{symlink("etc/os-release", "../../../x"), file("x", debianRelease)}, []string{"release etc/os-release: debian"}, 0},
		{"replaced by a file", []tar.Header{symlink("etc/os-release", "/x"), file("x", debianRelease), file("etc/os-release", alpineRelease)}, []string{"release etc/os-release: alpine"}, 0},
		{"replaced by a directory", []tar.Header{symlink("var/lib/dpkg", "/x"), file("x/status", status("a")), dir("var/lib/dpkg"), file("var/lib/dpkg/status", status("b"))},
			[]string{"database var/lib/dpkg/status: b", "removed var/lib/dpkg"}, 0},
		{"replaced by another", []tar.Header{symlink("etc/os-release", "/x"), file("x", debianRelease), symlink("etc/os-release", "/y"), file("y", alpineRelease)}, []string{"release etc/os-release: alpine"}, 0},
		{"a link on the way is replaced", []tar.Header{symlink("etc/os-release", "/a/x"), symlink("a", "b"), file("b/x", debianRelease), dir("a"), file("a/x", alpineRelease)}, []string{"release etc/os-release: alpine"}, 0},
		{"to nothing", []tar.Header{symlink("etc/os-release", "/x"), symlink("var/lib/dpkg/status", "y"), symlink("lib/apk/db", "/z")},
			[]string{"removed etc/os-release", "removed lib/apk/db", "removed var/lib/dpkg/status",
				"problem etc/os-release: a link to \"x\", which this layer does not hold", "problem lib/apk/db: a link to \"z\", which this layer does not hold",
				"problem var/lib/dpkg/status: a link to \"var/lib/dpkg/y\", which this layer does not hold"}, 0},
		{"to a directory without any", []tar.Header{symlink("lib", "lib64"), symlink("var/lib/rpm", "/z"), dir("z")}, []string{"removed lib", "removed var/lib/rpm"}, 0},
		{"a release file of less weight is not worth another pass", []tar.Header{file("etc/os-release", debianRelease), file("usr/lib/x-release", "X release 7\n"), symlink("etc/system-release", "/usr/lib/x-release"), symlink("etc/redhat-release", "/y")},
			[]string{"release etc/os-release: debian", "removed etc/redhat-release", "removed etc/system-release"}, 0},
		{"but it is if it decides", []tar.Header{file("usr/lib/x-release", "X release 7\n"), symlink("etc/system-release", "/usr/lib/x-release"), file("etc/debian_version", "12\n")},
			[]string{"release etc/debian_version: debian", "release etc/system-release: x"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			layer, stats := analyze(t, pack(t, c.entries...))
			if diff := cmp.Diff(c.want, printed(layer)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if want := max(c.passes, 1); stats.Passes != want {
				t.Errorf("%d passes, want %d", stats.Passes, want)
			}
		})
	}
}

func TestPrefix(t *testing.T) {
	archive := pack(t, file("manifest", "{}"), file("etc/os-release", alpineRelease), dir("rootfs"),
		file("rootfs/etc/os-release", debianRelease), file("rootfs/x", status("a")), hardlink("rootfs/var/lib/dpkg/status", "rootfs/x"),
		hardlink("rootfs/lib/apk/db/installed", "etc/os-release"), file("rootfs/../etc/os-release", alpineRelease), file("rootfs/../rootfs/.wh.etc", ""))
	layer, _, err := Layer(t.Context(), opener(archive), Blob{Prefix: "rootfs"}, limits.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"release etc/os-release: debian", "database var/lib/dpkg/status: a", "removed etc", "removed lib/apk/db/installed"}
	if diff := cmp.Diff(want, printed(layer)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}
