// Package limits provides the bounds inside which foreign bytes are read, and the one error
// that says which of them was reached.
//
// It enforces nothing; readers do.
package limits

import (
	"fmt"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Limits bounds the work that one layer may cause. In every field zero means the default
// and a negative number means no limit.
type Limits struct {
	// CompressedBytes is the most that is read of a layer as it is transferred. Default 16 GiB.
	CompressedBytes int64
	// InflatedBytes is the most that a layer may inflate to. Default 64 GiB.
	InflatedBytes int64
	// Ratio is the most inflated bytes for each compressed byte, looked at from the first
	// GiB of inflated bytes on (small layers compress oddly). gzip can reach 1030. Default 400.
	Ratio int64
	// Entries is the most tar entries of a layer, directories and links included. Default 5 million.
	Entries int64
	// ParsedFileBytes is the size up to which a file is parsed, such as a package database. Default 512 MiB.
	ParsedFileBytes int64
	// Packages is the most packages that one layer may list. Default 500,000.
	Packages int64
	// LayerTime is the longest that the reading of one layer may take. Default 30 minutes.
	LayerTime time.Duration
}

// Default returns the limits that zero fields stand for.
func Default() Limits {
	return Limits{
		CompressedBytes: 16 << 30,
		InflatedBytes:   64 << 30,
		Ratio:           400,
		Entries:         5_000_000,
		ParsedFileBytes: 512 << 20,
		Packages:        500_000,
		LayerTime:       30 * time.Minute,
	}
}

// RatioFloorBytes is the inflated size from which [Limits.Ratio] counts.
const RatioFloorBytes = 1 << 30

// WithDefaults returns l with its zero fields set to the defaults.
func (l Limits) WithDefaults() Limits {
	d := Default()
	for _, f := range []struct{ at, def *int64 }{
		{&l.CompressedBytes, &d.CompressedBytes},
		{&l.InflatedBytes, &d.InflatedBytes},
		{&l.Ratio, &d.Ratio},
		{&l.Entries, &d.Entries},
		{&l.ParsedFileBytes, &d.ParsedFileBytes},
		{&l.Packages, &d.Packages},
	} {
		if *f.at == 0 {
			*f.at = *f.def
		}
	}
	if l.LayerTime == 0 {
		l.LayerTime = d.LayerTime
	}
	return l
}

// Check returns an [*Error] when got is above most, unless most is negative.
func Check(what, unit string, most, got int64) error {
	if most >= 0 && got > most {
		return &Error{What: what, Unit: unit, Most: most, Got: got}
	}
	return nil
}

// Error says that a limit was reached. Its kind is [fault.TooLarge]: the same input reaches it again,
// until an operator raises the limit.
type Error struct {
	What string // what is limited, as a phrase: "inflated size of the layer"
	Unit string // "bytes", "entries", "to 1", "seconds"
	Most int64  // the limit
	Got  int64  // what was seen when reading stopped; the whole may be larger
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: limit of %d %s reached (at least %d)", e.What, e.Most, e.Unit, e.Got)
}

// FaultKind makes the error a [fault.TooLarge].
func (*Error) FaultKind() fault.Kind { return fault.TooLarge }
