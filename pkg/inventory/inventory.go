// Package inventory provides the nouns of "what is installed": the package, what one layer
// says about packages, and the inventory of a whole image.
//
// It parses nothing (package extract does) and stores nothing (package store does).
package inventory

import (
	"cmp"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Kind is the kind of a package, as purl types name it (https://github.com/package-url/purl-spec).
type Kind string

// The kinds of operating system packages.
const (
	Deb Kind = "deb"
	RPM Kind = "rpm"
	APK Kind = "apk"
)

// Package is one installed package as its package database describes it. It is comparable.
type Package struct {
	Kind    Kind   `json:"k"`
	Name    string `json:"n"`
	Version string `json:"v"` // in full, as the ecosystem writes it: epoch and release included
	Arch    string `json:"a,omitempty"`
	// SourceName and SourceVersion name the source package it was built from. They are always
	// set; where the database does not tell, they are Name and Version.
	SourceName    string `json:"sn"`
	SourceVersion string `json:"sv"`
	// Module is the modularity label of an rpm, "name:stream:version:context", or "".
	Module string `json:"m,omitempty"`
}

// Compare orders packages by Kind, Name, Version and Arch, and then by their other fields. The order of
// versions is that of their bytes, not that of the ecosystem.
func (p Package) Compare(q Package) int {
	if c := strings.Compare(string(p.Kind), string(q.Kind)); c != 0 {
		return c
	}
	if c := compareIdentity(&p, &q); c != 0 {
		return c
	}
	return cmp.Or(
		strings.Compare(p.SourceName, q.SourceName),
		strings.Compare(p.SourceVersion, q.SourceVersion),
		strings.Compare(p.Module, q.Module),
	)
}

// compareIdentity orders packages of one kind by what makes them the same package.
func compareIdentity(p, q *Package) int {
	if c := strings.Compare(p.Name, q.Name); c != 0 {
		return c
	}
	if c := strings.Compare(p.Version, q.Version); c != 0 {
		return c
	}
	return strings.Compare(p.Arch, q.Arch)
}

// Database is one package database found in a layer.
type Database struct {
	Path     string    `json:"path"` // in the layer, clean and without leading slash
	Kind     Kind      `json:"kind"`
	Packages []Package `json:"packages"` // of that kind; sorted by [Package.Compare]; distinct
}

// ReleaseFile is a file that tells the distribution, such as etc/os-release.
type ReleaseFile struct {
	Path         string              `json:"path"`
	Distribution distro.Distribution `json:"distribution"`
}

// Problem is something in a layer that could not be read. A problem is never "nothing there".
type Problem struct {
	Path   string `json:"path"`            // of the file; "" for the layer itself
	Kind   string `json:"kind"`            // a fault.Kind by name
	Detail string `json:"detail"`          // for people: what was wrong, and with which record
	Count  int    `json:"count,omitempty"` // how many records of the file it befell; 0 for the file as a whole
}

// Fault returns the kind of the problem.
func (p Problem) Fault() fault.Kind { return fault.Parse(p.Kind) }

// Layer is what one layer says: the databases and release files it holds whole, and what it hides
// of the layers below. All paths are clean, relative, without leading slash; the root itself is ".".
// Paths that can hide none of the files that extraction looks for are left out.
type Layer struct {
	Releases  []ReleaseFile `json:"releases,omitempty"`
	Databases []Database    `json:"databases,omitempty"`
	// Removed are paths that are gone, with all below them, as far as lower layers go: whiteouts,
	// and paths at which this layer put something that is neither a directory nor a file it lists.
	Removed []string `json:"removed,omitempty"`
	// Opaque are directories of which lower layers' content is hidden (".wh..wh..opq").
	Opaque   []string  `json:"opaque,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// IsEmpty reports whether the layer says nothing at all, as most do.
func (l *Layer) IsEmpty() bool {
	return len(l.Releases)+len(l.Databases)+len(l.Removed)+len(l.Opaque)+len(l.Problems) == 0
}

// Installed is a package of an image, and where it comes from.
type Installed struct {
	Package
	// Layer is the index of the layer, counted from the base, that brought the package in this
	// version and architecture to stay: a later layer that repeats the database does not count.
	Layer int
	Path  string // of the database that lists it
}

// Inventory is what is installed in one image.
type Inventory struct {
	Distribution distro.Distribution // zero where no release file survives
	Evidence     string              // path of the release file that told the distribution, or ""
	Packages     []Installed         // sorted by Kind, Name, Version, Arch; distinct as Package
	Problems     []LayerProblem      // of all layers, base first, but for files that a later layer removed or replaced
}

// LayerProblem is a problem and the index of the layer that has it.
type LayerProblem struct {
	Problem
	Layer int
}
