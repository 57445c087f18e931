package inventory

import (
	"encoding/json"
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// layerFormat is the number of the format that Marshal writes. A change that an older reader would
// misread raises it; UnmarshalLayer then goes on reading the older ones.
const layerFormat = 1

// layerWire is the stored form of a Layer, format 1.
type layerWire struct {
	Format    int            `json:"format"`
	Releases  []ReleaseFile  `json:"releases,omitempty"`
	Databases []databaseWire `json:"databases,omitempty"`
	Removed   []string       `json:"removed,omitempty"`
	Opaque    []string       `json:"opaque,omitempty"`
	Problems  []Problem      `json:"problems,omitempty"`
}

// databaseWire is a Database with its packages as rows of name, version, architecture, source name, source
// version and module. A source name or version that is the package's own is "", and "" at the end is left out.
type databaseWire struct {
	Path     string     `json:"path"`
	Kind     Kind       `json:"kind"`
	Packages [][]string `json:"packages"`
}

// Marshal returns the stored form of the layer: JSON, with a format number, that [UnmarshalLayer] reads.
func (l *Layer) Marshal() ([]byte, error) {
	w := layerWire{Format: layerFormat, Releases: l.Releases, Removed: l.Removed, Opaque: l.Opaque, Problems: l.Problems}
	for _, db := range l.Databases {
		rows := make([][]string, len(db.Packages))
		for i, p := range db.Packages {
			rows[i] = row(p)
		}
		w.Databases = append(w.Databases, databaseWire{db.Path, db.Kind, rows})
	}
	return json.Marshal(w)
}

func row(p Package) []string {
	if p.SourceName == p.Name {
		p.SourceName = ""
	}
	if p.SourceVersion == p.Version {
		p.SourceVersion = ""
	}
	fields := []string{p.Name, p.Version, p.Arch, p.SourceName, p.SourceVersion, p.Module}
	for len(fields) > 0 && fields[len(fields)-1] == "" {
		fields = fields[:len(fields)-1]
	}
	return fields
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
		for i, fields := range db.Packages {
			var err error
			if packages[i], err = fromRow(db.Kind, fields); err != nil {
				return nil, fault.Newf(fault.Corrupt, "read", "layer content", "%s: package %d: %w", db.Path, i, err)
			}
		}
		l.Databases = append(l.Databases, Database{db.Path, db.Kind, packages})
	}
	return l, nil
}

func fromRow(kind Kind, fields []string) (Package, error) {
	var all [6]string
	if copy(all[:], fields) != len(fields) {
		return Package{}, fmt.Errorf("%d fields", len(fields))
	}
	p := Package{
		Kind: kind, Name: all[0], Version: all[1], Arch: all[2], SourceName: all[3], SourceVersion: all[4], Module: all[5],
	}
	if p.SourceName == "" {
		p.SourceName = p.Name
	}
	if p.SourceVersion == "" {
		p.SourceVersion = p.Version
	}
	return p, nil
}
