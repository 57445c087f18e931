package job

import "github.com/trawl-scanner/trawl/pkg/fault"

// Lane says who waits for a job. There are two instead of priorities, each a topic of its own.
type Lane uint8

// The lanes. A consumer takes from Bulk only while Now has nothing.
const (
	Bulk Lane = iota // a crawl, which can wait
	Now              // a person or a CI job waits
)

// Lanes lists the lanes in the order in which they are served.
var Lanes = [...]Lane{Now, Bulk}

// String returns "bulk" or "now".
func (l Lane) String() string {
	if l == Now {
		return "now"
	}
	return "bulk"
}

// ParseLane is the inverse of [Lane.String]. Its error is a [fault.Invalid].
func ParseLane(s string) (Lane, error) {
	switch s {
	case "bulk":
		return Bulk, nil
	case "now":
		return Now, nil
	}
	return Bulk, fault.Newf(fault.Invalid, "parse lane", clip(s), "want bulk or now")
}

// MarshalText implements [encoding.TextMarshaler] with the name.
func (l Lane) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *Lane) UnmarshalText(text []byte) error {
	lane, err := ParseLane(string(text))
	if err == nil {
		*l = lane
	}
	return err
}
