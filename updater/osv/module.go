package osv

import (
	"regexp"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// What exports of rpm distributions need beside the others'. AlmaLinux publishes all its errata, in the words of Red
// Hat, and does not say which module a package is from; the summary does: "Moderate: nodejs:18 security update",
// "Important: virt:rhel and virt-devel:rhel security update".

// aboutVulnerabilities reports whether an erratum is a security advisory, or names a vulnerability all the same. Bug fixes
// and enhancements (ALBA, ALEA) are none.
func (r *reading) aboutVulnerabilities() bool {
	return !strings.HasPrefix(r.ID, "ALBA-") && !strings.HasPrefix(r.ID, "ALEA-") || len(r.aliases()) > 0
}

var (
	// modular is what the release of a package in a module has: "1.module_el8.9.0+3786+e8a73bbf".
	modular = regexp.MustCompile(`\.module[_+]el\d`)
	// moduleStream is a module and its stream in a summary. What stands behind a slash is a package.
	moduleStream = regexp.MustCompile(`(?:^| )([\w.+-]+:[\w.+-]+)(?:/[\w.+-]+)?(?: |$)`)
)

// modules returns the modules that the summary names.
func (r *reading) modules() []string {
	text := r.Summary
	if _, behind, ok := strings.Cut(text, ": "); ok {
		text = behind
	}
	var out []string
	for _, m := range moduleStream.FindAllStringSubmatch(strings.ReplaceAll(text, " ", "  "), -1) {
		out = append(out, m[1])
	}
	return out
}

// inModules names packages of modules as such, "nodejs:18/npm". Where the summary names several modules, nothing
// tells which of them the package is from; it gets a range in each, and is installed from one.
func (r *reading) inModules(a advisory.Range) []advisory.Range {
	if !modular.MatchString(a.Fixed) {
		return []advisory.Range{a}
	}
	modules := r.modules()
	if len(modules) == 0 {
		r.note(a.Name, "version "+a.Fixed+" is of a module, and none is named")
	}
	var out []advisory.Range
	for _, module := range modules {
		in := a
		in.Name = module + "/" + a.Name
		out = append(out, in)
	}
	return out
}

// highest keeps, of several ranges of one name from the first version on, the one that goes farthest: an erratum
// lists a package once for each architecture, and now and then with older builds of it beside the one that is fixed.
func highest(ranges []advisory.Range) []advisory.Range {
	type name struct{ namespace, name string }
	at := make(map[name]int)
	var out []advisory.Range
	for _, a := range ranges {
		n := name{a.Namespace, a.Name}
		before, seen := at[n]
		if a.Problem != "" || a.Introduced != "" || a.Fixed == "" {
			out = append(out, a)
			continue
		}
		if !seen {
			at[n] = len(out)
			out = append(out, a)
			continue
		}
		if c, err := version.Compare(a.Scheme, out[before].Fixed, a.Fixed); err == nil && c < 0 {
			out[before] = a
		}
	}
	return out
}
