package advisory

import (
	"fmt"
	"strings"
)

// Severity is how bad a vulnerability is, on the scale that all sources are mapped to.
// Larger is worse. The numbers are stored; they never change meaning.
type Severity uint8

// The severities. Unknown means that no source has said.
const (
	Unknown Severity = iota
	Negligible
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"unknown", "negligible", "low", "medium", "high", "critical"}

// Severities returns all severities, worst first.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low, Negligible, Unknown} }

// String returns the lower-case name.
func (s Severity) String() string {
	if int(s) >= len(severityNames) {
		return severityNames[Unknown]
	}
	return severityNames[s]
}

// ParseSeverity reads a name in any case.
func ParseSeverity(name string) (Severity, error) {
	for s, n := range severityNames {
		if strings.EqualFold(n, name) {
			return Severity(s), nil
		}
	}
	return Unknown, fmt.Errorf("severity %q: want one of %s", name, strings.Join(severityNames[:], ", "))
}

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Severity) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSeverity(string(text))
	return err
}

// Status is what a source says about a package: whether it is affected and what will be done.
// The numbers are stored; they never change meaning.
type Status uint8

// The statuses. The zero value says that nobody has decided.
const (
	UnderInvestigation Status = iota // affected or not: the source does not know yet
	Affected                         // affected, no fix yet
	Fixed                            // affected before the fixed version
	WillNotFix                       // affected, and the vendor will leave it so
	Deferred                         // affected, to be fixed later or only together with something else
	EndOfLife                        // affected or unlooked at, the release is no longer maintained
	NotAffected                      // looked at, and not affected
)

var statusNames = [...]string{
	"under_investigation", "affected", "fixed", "will_not_fix", "deferred", "end_of_life", "not_affected",
}

// String returns the name as it stands in reports.
func (s Status) String() string {
	if int(s) >= len(statusNames) {
		return statusNames[UnderInvestigation]
	}
	return statusNames[s]
}

// MarshalText implements [encoding.TextMarshaler].
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Status) UnmarshalText(text []byte) error {
	for i, n := range statusNames {
		if n == string(text) {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("status %q: want one of %s", text, strings.Join(statusNames[:], ", "))
}

// Verdict is the answer to "is this release affected by this advisory".
type Verdict uint8

// The verdicts. The zero value is "not known".
const (
	VerdictUndecided Verdict = iota
	VerdictNotAffected
	VerdictAffected
)

// Verdict returns what the status means for a release inside the range.
func (s Status) Verdict() Verdict {
	switch s {
	case Affected, Fixed, WillNotFix, Deferred, EndOfLife:
		return VerdictAffected
	case NotAffected:
		return VerdictNotAffected
	default:
		return VerdictUndecided
	}
}
