package ubuntu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// ParseNotices reads a document of notices. A record is one definition; its id is USN-…-… or LSN-…-…, and the
// vulnerabilities it is about are its aliases.
//
// Sources tell which source packages the binary packages are built from; nil means that nothing is known but what
// source.go holds. What is not known for sure shows as one bad record behind all others.
//
// A notice about a kernel has no range: its tests are about the kernel that runs, and name no package.
func ParseNotices(open oval.Opener, sources Sources) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		sets := make(map[string]bool) // sets of binaries by their first: whether their source is not sure
		each := records(open, "Ubuntu USN OVAL", func(d *oval.Definition, namespace string) result {
			if d.Class != "patch" {
				return result{skip: true}
			}
			reference, _ := d.Reference("USN")
			r := newResult(d, reference.ID)
			r.record.Link = reference.URL
			for c := range criterions(&d.Criteria) {
				evr := c.Test.State.EVR
				if c.Test.Kind != "dpkginfo" || evr.Operation != "less than" || len(c.Test.Names) == 0 {
					continue
				}
				names, sure := sources.of(c.Test.Names)
				sets[c.Test.Names[0]] = !sure
				for _, name := range names {
					one := newRange(namespace, name, d.Severity)
					one.Status, one.Fixed = advisory.Fixed, strings.TrimPrefix(evr.Text, "0:")
					if problem := r.ranges.Put(one); problem != "" {
						r.problem("/"+name, problem)
					}
				}
			}
			return r
		})
		for record, err := range each {
			if !yield(record, err) {
				return
			}
		}
		if bad := unsure(sets); bad != nil {
			yield(advisory.Record{}, bad)
		}
	}
}

// unsure names the sets of binaries of which the source is not sure, if there are any.
func unsure(sets map[string]bool) *advisory.BadRecord {
	var names []string
	for name, not := range sets {
		if not {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return &advisory.BadRecord{Subject: "source packages", Reason: fmt.Sprintf(
		"of %d of %d sets of binary packages the source package is not known, and taken to be named like one of them: those of %s",
		len(names), len(sets), oval.Few(names))}
}
