package version

import (
	"errors"
	"fmt"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// ParseError says that a string is not a version of a scheme, and why. The same string fails for
// ever: the error is of kind [fault.Invalid].
type ParseError struct {
	Scheme  Scheme
	Version string // what was to be read, in full
	Offset  int    // of the byte in Version at which reading stopped
	Reason  string // a phrase: "epoch is not a number"
}

// shownBytes is how much of a version an error message quotes.
const shownBytes = 80

func (e *ParseError) Error() string {
	shown, more := e.Version, ""
	if len(shown) > shownBytes {
		shown, more = shown[:shownBytes], "…"
	}
	return fmt.Sprintf("parse %s version %q%s: %s at byte %d", e.Scheme, shown, more, e.Reason, e.Offset)
}

// FaultKind makes the error a [fault.Invalid].
func (*ParseError) FaultKind() fault.Kind { return fault.Invalid }

// reject returns the error for a version that cannot be read.
func reject(scheme Scheme, s string, offset int, reason string) error {
	return &ParseError{Scheme: scheme, Version: s, Offset: offset, Reason: reason}
}

// within turns the error about the part of s that begins at start into one about s.
func within(err error, s string, start int) error {
	var parse *ParseError
	if errors.As(err, &parse) {
		parse.Version, parse.Offset = s, parse.Offset+start
	}
	return err
}
