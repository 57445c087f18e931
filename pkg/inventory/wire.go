package inventory

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// layerFormat is the number of the format that Marshal writes. A change that an older reader would
// misread raises it; UnmarshalLayer then goes on reading the older ones.
const layerFormat = 1

// layerWire is the stored form of a Layer, format 1.
//
// It is not compressed. On databases of real images it takes some 40 bytes for each package, 7.5 kB for a Debian
// with 195; zstd would make 2.6 kB of that, and LZ4, as Postgres does with long values by itself, 3.7 kB.
type layerWire struct {
	Format    int            `json:"format"`
	Releases  []ReleaseFile  `json:"releases,omitempty"`
	Databases []databaseWire `json:"databases,omitempty"`
	Removed   []string       `json:"removed,omitempty"`
	Opaque    []string       `json:"opaque,omitempty"`
	Problems  []Problem      `json:"problems,omitempty"`
}

// databaseWire is a Database with a string for each package: name, version, architecture, source name, source version
// and module, with a space between them. A source name or version that is the package's own is empty, and so is
// what is not told; what is empty at the end is left out, with the space before it.
type databaseWire struct {
	Path     string   `json:"path"`
	Kind     Kind     `json:"kind"`
	Packages []string `json:"packages"`
}

// packageFields is the number of fields in the string of a package.
const packageFields = 6

// Marshal returns the stored form of the layer: JSON, with a format number, that [UnmarshalLayer] reads.
// A package with a space in one of its fields is an error of kind [fault.Invalid]; extraction lets none pass.
func (l *Layer) Marshal() ([]byte, error) {
	w := layerWire{Format: layerFormat, Releases: l.Releases, Removed: l.Removed, Opaque: l.Opaque, Problems: l.Problems}
	for _, db := range l.Databases {
		packages := make([]string, len(db.Packages))
		for i, p := range db.Packages {
			packages[i] = toWire(p)
			if strings.Count(packages[i], " ") >= packageFields || fromWire(db.Kind, packages[i]) != p {
				return nil, fault.Newf(fault.Invalid, "store", "layer content", "%s: package %.80q cannot be stored", db.Path, p.Name)
			}
		}
		w.Databases = append(w.Databases, databaseWire{db.Path, db.Kind, packages})
	}
	return json.Marshal(w)
}

// UnmarshalLayer reads what [Layer.Marshal] wrote. Errors are of kind [fault.Corrupt], and [fault.Unsupported]
// for a format of a later program.
func UnmarshalLayer(b []byte) (*Layer, error) {
	var w layerWire
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fault.New(fault.Corrupt, "read", "layer content", err)
	}
	if w.Format != layerFormat {
		return nil, fault.Newf(fault.Unsupported, "read", "layer content", "format %d", w.Format)
	}
	l := &Layer{Releases: w.Releases, Removed: w.Removed, Opaque: w.Opaque, Problems: w.Problems}
	for _, db := range w.Databases {
		packages := make([]Package, len(db.Packages))
		for i, s := range db.Packages {
			if strings.Count(s, " ") >= packageFields {
				return nil, fault.New(fault.Corrupt, "read", "layer content", fmt.Errorf("%s: package %.80q", db.Path, s))
			}
			packages[i] = fromWire(db.Kind, s)
		}
		l.Databases = append(l.Databases, Database{db.Path, db.Kind, packages})
	}
	return l, nil
}

func toWire(p Package) string {
	if p.SourceName == p.Name {
		p.SourceName = ""
	}
	if p.SourceVersion == p.Version {
		p.SourceVersion = ""
	}
	fields := [packageFields]string{p.Name, p.Version, p.Arch, p.SourceName, p.SourceVersion, p.Module}
	return strings.TrimRight(strings.Join(fields[:], " "), " ")
}

// fromWire reads the string of a package. Its fields share the memory of s.
func fromWire(kind Kind, s string) Package {
	next := func() (field string) {
		field, s, _ = strings.Cut(s, " ")
		return field
	}
	p := Package{Kind: kind, Name: next(), Version: next(), Arch: next(), SourceName: next(), SourceVersion: next(), Module: s}
	if p.SourceName == "" {
		p.SourceName = p.Name
	}
	if p.SourceVersion == "" {
		p.SourceVersion = p.Version
	}
	return p
}
