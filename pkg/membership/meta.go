package membership

import (
	"encoding/json"

	"github.com/hashicorp/memberlist"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The roles that other packages ask for.
const (
	RoleWorker      = "worker"
	RoleCoordinator = "coordinator"
)

// Meta is what a member tells of itself. Versions of the program live side by side: fields are only added, and a
// reader ignores what it does not know.
type Meta struct {
	Roles    []string `json:"roles,omitempty"`
	Capacity int      `json:"capacity,omitempty"` // of a worker: layers analyzed at once
	Load     int      `json:"load,omitempty"`     // of a worker: layers being analyzed, a few seconds ago
	Version  string   `json:"version,omitempty"`  // of the program
	API      string   `json:"api,omitempty"`      // host:port at which the other roles reach its API
	// Introspection is host:port of its health and metrics.
	Introspection string `json:"introspection,omitempty"`
}

// encode returns the wire form. What does not fit into memberlist's 512 bytes is a fault of kind Invalid.
func (m Meta) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fault.New(fault.Invalid, "encode", "member's data", err)
	}
	if len(text) > memberlist.MetaMaxSize {
		return nil, fault.Newf(fault.Invalid, "encode", "member's data", "%d bytes, where %d may be", len(text), memberlist.MetaMaxSize)
	}
	return text, nil
}

// decodeMeta reads the wire form. Its error is a fault of kind Corrupt, and Meta is then the zero value: a member without roles.
func decodeMeta(text []byte) (Meta, error) {
	var m Meta
	if err := json.Unmarshal(text, &m); err != nil {
		return Meta{}, fault.New(fault.Corrupt, "decode", "member's data", err)
	}
	return m, nil
}
