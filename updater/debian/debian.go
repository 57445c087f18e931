// Package debian reads the JSON form of the Debian security tracker,
// https://security-tracker.debian.org/tracker/data/json.
//
// # Format
//
// An object of source packages, each an object of vulnerabilities, each with a description and an object of
// releases by code name. The tracker's own documentation of the states is
// https://security-team.debian.org/security_tracker.html.
package debian

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/jsonstream"
)

// Address is where the tracker publishes.
const Address = "https://security-tracker.debian.org/tracker/data/json"

// entry is one vulnerability of one source package.
type entry struct {
	Description string             `json:"description"`
	Releases    map[string]release `json:"releases"`
}

// release is what the tracker says of one release of Debian.
type release struct {
	Status       string  `json:"status"`
	FixedVersion string  `json:"fixed_version"`
	Urgency      string  `json:"urgency"`
	NoDSA        *string `json:"nodsa"`        // why no security advisory was made
	NoDSAReason  *string `json:"nodsa_reason"` // "", "ignored" or "postponed"
}

// errStopped ends the walk when the consumer wants no more.
var errStopped = errors.New("stopped")

// Parse reads the tracker's document. A record is one vulnerability of one source package, in all
// releases; memory is bounded by the largest of them.
func Parse(r io.Reader) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		w := jsonstream.New(r)
		err := w.Object(func(name string) error {
			return w.Object(func(id string) error {
				var e entry
				shape, broken := w.Value(&e)
				if broken != nil {
					return broken
				}
				if !e.emit(name, id, shape, yield) {
					return errStopped
				}
				return nil
			})
		})
		if err == nil {
			err = w.End()
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(advisory.Record{}, fault.New(fault.Corrupt, "parse", Address, err))
		}
	}
}

// emit yields one vulnerability of one source package, unless shape says that it could not be read.
// It reports whether the consumer wants more.
func (e entry) emit(name, id string, shape error, yield func(advisory.Record, error) bool) bool {
	subject := name + "/" + id
	if shape != nil {
		return yield(advisory.Record{}, &advisory.BadRecord{Subject: subject, Reason: shape.Error(), ID: id, Name: name})
	}
	record := advisory.Record{
		ID:          id,
		Description: e.Description,
		Link:        "https://security-tracker.debian.org/tracker/" + id,
	}
	for _, codename := range slices.Sorted(maps.Keys(e.Releases)) {
		namespace, known := distro.Distribution{ID: "debian", Codename: codename}.Namespace()
		r, err := e.Releases[codename].affected()
		if err == nil && !known {
			err = errors.New("this release of Debian is not known")
		}
		if err != nil {
			if !yield(advisory.Record{}, &advisory.BadRecord{Subject: subject + "/" + codename, Reason: err.Error()}) {
				return false
			}
			r = advisory.Range{Problem: err.Error(), Urgency: r.Urgency}
		}
		if known {
			r.Namespace, r.Scheme, r.Name = namespace, version.Dpkg, name
			record.Affected = append(record.Affected, r)
		}
	}
	return yield(record, nil)
}

// affected returns what the tracker says as a range, without the name of the package.
func (r release) affected() (advisory.Range, error) {
	out := advisory.Range{Urgency: r.Urgency}
	var known bool
	if out.Severity, known = severities[strings.TrimRight(r.Urgency, "*")]; !known {
		return out, fmt.Errorf("urgency %q is not known", r.Urgency)
	}
	switch r.Status {
	case "resolved":
		switch r.FixedVersion {
		case "":
			return out, fmt.Errorf("resolved, and no fixed version")
		case "0": // no version of this release ever was affected
			out.Status = advisory.NotAffected
		default:
			out.Status, out.Fixed = advisory.Fixed, r.FixedVersion
		}
	case "open":
		out.Status = r.openStatus()
	case "undetermined":
		out.Status = advisory.UnderInvestigation
	default:
		return out, fmt.Errorf("status %q is not known", r.Status)
	}
	return out, nil
}

func (r release) openStatus() advisory.Status {
	switch {
	case r.Urgency == "end-of-life":
		return advisory.EndOfLife
	case r.NoDSAReason != nil && *r.NoDSAReason == "ignored":
		return advisory.WillNotFix
	case r.NoDSAReason != nil && *r.NoDSAReason == "postponed":
		return advisory.Deferred
	}
	return advisory.Affected
}

// severities maps the tracker's urgencies. An asterisk behind one says that it was set by rule and not
// by a person, and is dropped. "unimportant" are vulnerabilities without effect in Debian's builds.
var severities = map[string]advisory.Severity{
	"":                 advisory.Unknown,
	"not yet assigned": advisory.Unknown,
	"end-of-life":      advisory.Unknown,
	"unimportant":      advisory.Negligible,
	"low":              advisory.Low,
	"medium":           advisory.Medium,
	"high":             advisory.High,
}
