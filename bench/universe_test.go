package bench

import (
	"fmt"
	"math/rand/v2"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// # A made-up universe
//
// What a registry of the world has installed, and what is published about it: distributions and language ecosystems with
// names of which few have many versions and most have one, and with advisories of which one name has an eighth and most
// names have none, as in Debian's tracker. Everything is drawn from the seed, so that two runs measure the same.

// universe is a choice of families, at a scale: 1 comes to a million releases and 600,000 ranges.
type universe struct {
	families []family
	scale    float64
}

// family is a distribution or an ecosystem with all its namespaces. One source publishes one feed about it.
type family struct {
	source     string
	scheme     version.Scheme
	namespaces []string
	releases   int     // at scale 1, in all namespaces
	advisories int     // at scale 1
	depth      int     // versions of the name that has most
	spread     float64 // share of the namespaces that an advisory is about
	languages  bool    // ranges have a start
}

// numbered returns namespaces of one distribution.
func numbered(format string, from, to int) []string {
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprintf(format, n))
	}
	return out
}

// newUniverse returns the universe at a scale.
func newUniverse(scale float64) universe {
	return universe{scale: scale, families: []family{
		{"debian", version.Dpkg, numbered("debian:%d", 8, 13), 110_000, 30_000, 60, 0.75, false},
		{"ubuntu", version.Dpkg, numbered("ubuntu:%d.04", 16, 25), 120_000, 27_000, 60, 0.55, false},
		{"alpine", version.APK, numbered("alpine:3.%d", 8, 21), 140_000, 9_000, 30, 0.5, false},
		{"redhat", version.RPM, numbered("rhel:%d", 6, 10), 90_000, 60_000, 80, 0.4, false},
		{"oracle", version.RPM, numbered("oracle:%d", 7, 9), 20_000, 8_000, 40, 0.6, false},
		{"amazon", version.RPM, []string{"amzn:2", "amzn:2023"}, 20_000, 5_000, 40, 0.7, false},
		{"osv-npm", version.NPM, []string{"npm"}, 300_000, 14_000, 150, 1, true},
		{"osv-pypi", version.PyPI, []string{"pypi"}, 80_000, 10_000, 150, 1, true},
		{"osv-go", version.Go, []string{"go"}, 60_000, 6_000, 100, 1, true},
		{"osv-maven", version.Maven, []string{"maven"}, 60_000, 6_000, 150, 1, true},
	}}
}

// scaled returns n at the scale of the universe.
func (u universe) scaled(n int) int { return max(20, int(float64(n)*u.scale)) }

// sources describes the sources of all families.
func (u universe) sources() []advisory.Source {
	var out []advisory.Source
	for _, f := range u.families {
		out = append(out, advisory.Source{Name: f.source, Title: f.source, Covers: f.namespaces})
	}
	return out
}

// versions returns how many versions the name of a rank has in each namespace.
func (f family) versions(rank int) int { return max(1, f.depth*10/(rank+10)) }

// name returns the name of a rank.
func (f family) name(rank int) string { return fmt.Sprintf("package-%d", rank) }

// version returns the version of an index, in the order of the scheme.
func (f family) version(n int) string {
	text := fmt.Sprintf("%d.%d.%d", 1+n/20, n/4%5, n%4)
	switch f.scheme {
	case version.Dpkg:
		return text + "-1+deb1u1"
	case version.RPM:
		return text + "-1.el9"
	case version.APK:
		return text + "-r0"
	case version.Go:
		return "v" + text
	}
	return text
}

// An installed release.
type release struct {
	namespace, name, version string
}

// installed yields the releases of a family.
func (f family) installed(total int, yield func(release) bool) {
	share := max(1, total/len(f.namespaces))
	for _, namespace := range f.namespaces {
		n := 0
		for rank := 0; n < share; rank++ {
			for v := 0; v < f.versions(rank) && n < share; v++ {
				n++
				if !yield(release{namespace, f.name(rank), f.version(v)}) {
					return
				}
			}
		}
	}
}

// record returns the advisory of an index, as it is when it is new.
func (f family) record(index int) advisory.Record {
	r := rand.New(rand.NewPCG(uint64(index), 0x7472_6177_6c)) //nolint:gosec // a benchmark is to be repeatable
	rank := int(rand.NewZipf(r, 1.2, 2, 20_000).Uint64())
	depth := f.versions(rank)
	id := fmt.Sprintf("CVE-%d-%05d", 2010+index%16, index)
	out := advisory.Record{
		ID: id, Link: fmt.Sprintf("https://%s.example/%s", f.source, id), Severity: advisory.Severity(1 + r.IntN(5)),
		Description: fmt.Sprintf("A flaw was found in %s: request number %d, if crafted, reads beyond the end of a buffer, and whoever sent it gets to know what is there.", f.name(rank), index),
	}
	for i, namespace := range f.namespaces {
		if i > 0 && r.Float64() > f.spread {
			continue
		}
		a := advisory.Range{Namespace: namespace, Scheme: f.scheme, Name: f.name(rank), Urgency: "not yet assigned"}
		fixed := 1 + r.IntN(depth)
		if f.languages {
			a.Introduced = f.version(r.IntN(fixed))
		}
		switch p := r.IntN(100); {
		case p < 3:
			a.Status = advisory.NotAffected
		case p < 4:
			a.Status = advisory.UnderInvestigation
		case p < 20:
			a.Status = advisory.Affected
		default:
			a.Status, a.Fixed = advisory.Fixed, f.version(fixed)
		}
		out.Affected = append(out.Affected, a)
	}
	return out
}

// revised returns the advisory of an index as it is after a revision, which is of one of the kinds that feeds show: a
// fix came or became another, the severity changed, the vendor gave up, it was withdrawn.
func (f family) revised(index, revision int) advisory.Record {
	out := f.record(index)
	r := rand.New(rand.NewPCG(uint64(index), 0x7265_7669_7365)) //nolint:gosec // as above
	switch kind := r.IntN(6); kind {
	case 0, 1:
		for i := range out.Affected {
			out.Affected[i].Status, out.Affected[i].Fixed = advisory.Fixed, f.version(f.depth+revision)
		}
	case 2, 3:
		out.Severity = 1 + (out.Severity+advisory.Severity(revision))%5
	case 4:
		for i := range out.Affected {
			out.Affected[i].Status, out.Affected[i].Fixed = advisory.WillNotFix, ""
		}
	case 5:
		if revision%2 == 0 {
			out.Affected = nil
		}
	}
	return out
}
