package extract

import (
	"bytes"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/extract/apk"
	"github.com/trawl-scanner/trawl/pkg/extract/dpkg"
	"github.com/trawl-scanner/trawl/pkg/extract/rpmdb"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// table is what is looked for: where, and what reads it. The release files are those of distro.Files.
// To support a package database is one line here, and a package that has the reading function.
//
// Sources of the paths: deb-control(5) and dpkg(1); GoogleContainerTools/distroless, PACKAGE_METADATA.md, for
// status.d; bootc images of Debian for usr/lib/sysimage; apk-tools for both of its own; rpm's macros for _dbpath,
// which is var/lib/rpm up to 2020 and usr/lib/sysimage/rpm on SUSE and Fedora since; rpm-ostree for the two others.
var table = slices.Concat(releaseFiles(), []row{
	{pattern: "var/lib/dpkg/status", packages: packages{kind: inventory.Deb, read: dpkg.Packages}},
	{pattern: "var/lib/dpkg/status.d/*", except: ".md5sums", packages: packages{kind: inventory.Deb, read: dpkg.Packages}},
	{pattern: "usr/lib/sysimage/dpkg/status", packages: packages{kind: inventory.Deb, read: dpkg.Packages}},

	{pattern: "lib/apk/db/installed", packages: packages{kind: inventory.APK, read: apk.Packages}},
	{pattern: "usr/lib/apk/db/installed", packages: packages{kind: inventory.APK, read: apk.Packages}},
}, rpmDatabases("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm", "usr/lib/sysimage/rpm-ostree-base-db"))

// row is a line of the table. One of its readers is set.
type row struct {
	pattern string // a path, or a directory and "/*" for the files in it
	except  string // with "/*": how the names of files end that are something else

	release  distro.Parser // of a release file
	packages packages      // of a package database
	log      bool          // it is the write-ahead log of the database of the same name without "-wal"
}

// packages reads a package database: as a stream, or in place if it has to go back and forth in it. What they
// yield as errors is as in dpkg.Packages and rpmdb.Packages.
type packages struct {
	kind        inventory.Kind
	read        func(io.Reader) iter.Seq2[inventory.Package, error]
	readInPlace func(db, log *io.SectionReader) iter.Seq2[inventory.Package, error]
}

func releaseFiles() []row {
	rows := make([]row, len(distro.Files))
	for i, f := range distro.Files {
		rows[i] = row{pattern: f.Path, release: f.Parse}
	}
	return rows
}

// rpmDatabases returns the rows for the directories in which rpm has had its database, in its three forms.
func rpmDatabases(dirs ...string) []row {
	rpm := packages{kind: inventory.RPM, readInPlace: rpmdb.Packages}
	var rows []row
	for _, dir := range dirs {
		rows = append(rows,
			row{pattern: dir + "/Packages", packages: rpm},
			row{pattern: dir + "/Packages.db", packages: rpm},
			row{pattern: dir + "/rpmdb.sqlite", packages: rpm},
			row{pattern: dir + "/rpmdb.sqlite" + logSuffix, log: true},
		)
	}
	return rows
}

const logSuffix = "-wal"

// index finds rows by path.
type index struct {
	files   map[string]*row // by path
	dirs    map[string]*row // those with "/*", by directory
	parents map[string]bool // the directories that lead to any of them
}

// wanted is the index of the table.
var wanted = newIndex(table)

func newIndex(rows []row) index {
	x := index{files: map[string]*row{}, dirs: map[string]*row{}, parents: map[string]bool{}}
	for i := range rows {
		x.add(rows[i].pattern, &rows[i])
	}
	return x
}

func (x *index) add(pattern string, r *row) {
	if dir, isDir := strings.CutSuffix(pattern, "/*"); isDir {
		x.dirs[dir] = r
	} else {
		x.files[pattern] = r
	}
	for dir := path.Dir(pattern); dir != "."; dir = path.Dir(dir) {
		x.parents[dir] = true
	}
}

// find returns the row for the file at a path, or nil.
func (x *index) find(p []byte) *row {
	if r := x.files[string(p)]; r != nil {
		return r
	}
	if len(x.dirs) == 0 {
		return nil
	}
	slash := bytes.LastIndexByte(p, '/')
	if slash < 0 {
		return nil
	}
	r := x.dirs[string(p[:slash])]
	if r != nil && r.except != "" && bytes.HasSuffix(p, []byte(r.except)) {
		return nil
	}
	return r
}

// touches reports whether what happens at a path concerns any row: it is the path of one, or leads there.
func (x *index) touches(p []byte) bool {
	return x.parents[string(p)] || x.find(p) != nil
}
