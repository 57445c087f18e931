package inventory

import (
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// BadRecord says that one record of a package database could not be read, while the others can.
// Readers of package databases yield it in place of the package and go on. Its kind is [fault.Corrupt].
type BadRecord struct {
	Record string // which one, as a person would look for it: "stanza at line 120", "header 17"
	Reason string // what is wrong with it
}

func (e *BadRecord) Error() string { return fmt.Sprintf("%s: %s", e.Record, e.Reason) }

// FaultKind makes the error a [fault.Corrupt].
func (*BadRecord) FaultKind() fault.Kind { return fault.Corrupt }
