package redhat

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/csaf"
)

// statement is what a document says about one component in one product.
type statement struct {
	status   advisory.Status
	severity advisory.Severity
	urgency  string // in Red Hat's words
	fixed    string // version, where the status is Fixed
}

// verdicts are what a document comes to: one range for each name in each namespace, where a document speaks of each
// architecture and each minor release.
//
//   - A fix in the mainstream speaks for all of it: that a minor release still, or already again, counts as
//     affected beside it, is from before the fix reached that release.
//   - Of several fixed versions the highest counts, which is what the ranges up to each of them amount to.
//   - Otherwise "affected" prevails over "under investigation", and that over "not affected": they are about
//     different minor releases, and which one is installed does not tell.
type verdicts struct {
	ranges   map[name]statement
	problems map[name]problem
}

type name struct{ namespace, name string }

type problem struct {
	statement
	reason string
}

// weight is the order in which statuses prevail. Among the affected ones, the one that leaves most hope of a fix.
var weight = map[advisory.Status]int{
	advisory.NotAffected:        0,
	advisory.UnderInvestigation: 1,
	advisory.EndOfLife:          2,
	advisory.WillNotFix:         3,
	advisory.Deferred:           4,
	advisory.Affected:           5,
	advisory.Fixed:              6,
}

func newVerdicts() *verdicts {
	return &verdicts{ranges: make(map[name]statement), problems: make(map[name]problem)}
}

// add takes a statement in. A fixed version that cannot be compared becomes a problem beside it.
func (v *verdicts) add(namespace string, c component, s statement) {
	at := name{namespace, c.rangeName()}
	if s.status == advisory.Fixed {
		s.fixed = c.version
		if reason := incomparable(c.version); reason != "" {
			v.problems[at] = problem{s, reason}
			return
		}
	}
	if before, ok := v.ranges[at]; ok {
		s = merge(before, s)
	}
	v.ranges[at] = s
}

// incomparable returns why versions of packages cannot be compared with a fixed version, or "".
func incomparable(fixed string) string {
	if fixed == "" {
		return "fixed, and no version"
	}
	if _, ok := moduleVersion(fixed); ok {
		return "the version is that of a module, not of a package"
	}
	if _, err := version.Key(version.RPM, fixed); err != nil {
		return err.Error()
	}
	return ""
}

// merge returns what two statements about one name come to.
func merge(a, b statement) statement {
	out := a
	if weight[b.status] > weight[a.status] {
		out = b
	} else if a.status == advisory.Fixed && b.status == advisory.Fixed {
		// Both can be compared: add has looked.
		if c, err := version.Compare(version.RPM, a.fixed, b.fixed); err == nil && c < 0 {
			out.fixed = b.fixed
		}
	}
	worst := a
	if b.severity > a.severity {
		worst = b
	}
	out.severity, out.urgency = worst.severity, worst.urgency
	return out
}

// affected returns the ranges, sorted.
func (v *verdicts) affected() []advisory.Range {
	var out []advisory.Range
	at := func(n name, s statement) advisory.Range {
		return advisory.Range{
			Namespace: n.namespace, Scheme: version.RPM, Name: n.name, Fixed: s.fixed,
			Status: s.status, Severity: s.severity, Urgency: s.urgency,
		}
	}
	for n, s := range v.ranges {
		out = append(out, at(n, s))
	}
	for _, n := range slices.SortedFunc(maps.Keys(v.problems), compareNames) {
		r := at(n, v.problems[n].statement)
		r.Problem = v.problems[n].reason
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b advisory.Range) int {
		return compareNames(name{a.Namespace, a.Name}, name{b.Namespace, b.Name})
	})
	return out
}

func compareNames(a, b name) int {
	return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name))
}

// severities maps Red Hat's ratings, https://access.redhat.com/security/updates/classification/.
var severities = map[string]advisory.Severity{
	"low":       advisory.Low,
	"moderate":  advisory.Medium,
	"important": advisory.High,
	"critical":  advisory.Critical,
}

// severity maps a rating in any case; one that is not in the table, such as "None", is unknown.
func severity(rating string) advisory.Severity { return severities[strings.ToLower(rating)] }

// unfixed maps the remedies of what is affected: category and details.
// See https://redhatproductsecurity.github.io/security-data-guidelines/csaf-vex/.
var unfixed = map[[2]string]advisory.Status{
	{"none_available", "Affected"}:             advisory.Affected,
	{"none_available", "Fix deferred"}:         advisory.Deferred,
	{"no_fix_planned", "Will not fix"}:         advisory.WillNotFix,
	{"no_fix_planned", "Out of support scope"}: advisory.EndOfLife,
}

// remedies returns the status of each affected product that has a remedy that tells. One without is affected.
func remedies(v *csaf.Vulnerability) map[csaf.Ref]advisory.Status {
	out := make(map[csaf.Ref]advisory.Status)
	for _, r := range v.Remedies {
		status, ok := unfixed[[2]string{r.Category, r.Details}]
		if !ok {
			if r.Category != "no_fix_planned" {
				continue
			}
			status = advisory.WillNotFix // in other words
		}
		for _, ref := range r.Products {
			if before, ok := out[ref]; !ok || weight[status] > weight[before] {
				out[ref] = status
			}
		}
	}
	return out
}
