package osv

import (
	"errors"
	"fmt"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/cvss"
)

// ranges returns what a document says about one package.
func (r *reading) ranges(a *affected) []advisory.Range {
	namespace, mine, known := r.resolve(a.Package.Ecosystem)
	switch {
	case !mine:
		return nil
	case !known:
		r.note(a.Package.Name, fmt.Sprintf("the release in %q is not known", a.Package.Ecosystem))
		return nil
	case a.Package.Name == "":
		r.note("a package", "it has no name")
		return nil
	}
	base := advisory.Range{
		Namespace: namespace, Scheme: r.scheme, Name: r.fold(a.Package.Name), Status: advisory.Affected,
		Severity: cvss.Severity(cvss.Preferred(r.scores(a.Severity))),
	}
	stretches, err := r.stretches(a)
	if err != nil {
		base.Problem = err.Error()
		return []advisory.Range{base}
	}
	var out []advisory.Range
	for _, i := range stretches {
		if r.distro != "" {
			out = append(out, r.inModules(i.apply(base))...)
		} else {
			out = append(out, i.apply(base))
		}
	}
	return out
}

// stretches returns the affected versions of a package.
func (r *reading) stretches(a *affected) ([]interval, error) {
	var out []interval
	versions := false
	for _, e := range a.Ranges {
		switch e.Type {
		case "SEMVER", "ECOSYSTEM":
			versions = true
			some, err := intervals(r.scheme, e.Events)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		case "GIT":
		default:
			return nil, fmt.Errorf("range of type %q", e.Type)
		}
	}
	var unread error
	for _, listed := range a.Versions {
		key, err := version.Key(r.scheme, listed)
		if err != nil {
			unread = err
			continue
		}
		versions = true
		if !slices.ContainsFunc(out, func(i interval) bool { return i.holds(key) }) {
			out = append(out, single(listed, key))
		}
	}
	switch {
	case versions:
		return out, nil
	case unread != nil:
		return nil, unread
	case len(a.Ranges) > 0:
		return nil, errors.New("what is affected is told as commits alone")
	}
	return nil, errors.New("what is affected is not told")
}

// apply returns a range of the versions in the interval.
func (i interval) apply(to advisory.Range) advisory.Range {
	to.Introduced = i.introduced
	switch {
	case i.inclusive:
		to.Last = i.end
	case i.end != "":
		to.Fixed = i.end
	}
	if i.fixed {
		to.Status = advisory.Fixed
	}
	return to
}
