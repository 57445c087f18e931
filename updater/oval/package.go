package oval

import (
	"regexp"
	"slices"
	"strings"
)

// Package is what a definition says of one package.
type Package struct {
	Name      string
	Platforms []Platform // on any of these; none where the definition names none
	Modules   []string   // in any of these streams, "nodejs:18"; none for a package that is in no module
	// Variant is a word that the release of the package has to hold, such as "ksplice" of Oracle's packages that
	// can be patched while they run; "" for the usual build.
	Variant     string
	Introduced  string // first affected version; "" for all before Fixed
	Fixed       string // first version that is not affected; "" for all from Introduced on
	NotAffected bool   // it was looked at, and is not affected
	Comment     string // as the criterion has it
	Problem     string // why what is said of it cannot be expressed, or ""
}

// Platform is a distribution, or a part of one, as the package that marks it: of name "redhat-release" and version
// "8".
type Platform struct{ Package, Version string }

// Packages returns what the definition says of packages, each statement once for each place in the criteria. What
// stands in AND with a package is a condition on it, as far as it is one that matters here:
//
//   - a platform is installed: a package whose name has "-release" in it, or /etc/redhat-release belongs to one. Where
//     none is in AND with the package, all platforms count that the definition names;
//   - a module stream is enabled: the content of /etc/dnf/modules.d/NAME.module;
//   - the package has a version, which is the first that is affected, or a release that holds a word;
//   - the architecture, the signing key, the running kernel, an exact version (for which live patches are made), and
//     that another package is missing do not matter: an image is not known to be run by any kernel, and what a vendor
//     fixes he fixes for all.
//
// A package whose version says that it is in a module, without the criteria naming one, is in the streams that the
// title names: "nodejs:10 security update".
//
// A package without a version to be less than is one without a fix. Two packages in AND are two statements, either
// of which is taken to be enough: that says too much, never too little.
func (d *Definition) Packages() []Package {
	var f flattener
	f.walk(&d.Criteria, scope{})
	titled := titledModules(d.Title)
	for i := range f.packages {
		p := &f.packages[i]
		if len(p.Platforms) == 0 {
			p.Platforms = f.named.items
		}
		if p.isModular() && len(p.Modules) == 0 {
			p.Modules = titled
		}
	}
	return f.packages
}

// isModular reports whether the version of a package says that it is in a module.
func (p *Package) isModular() bool { return modular.MatchString(p.Fixed) }

var modular = regexp.MustCompile(`\.module(\+|_)el`)

// titledModules returns the module streams that a title names.
func titledModules(title string) []string {
	var out distinct[string]
	for _, m := range titledModule.FindAllStringSubmatch(title, -1) {
		out.add(m[1])
	}
	return out.items
}

var titledModule = regexp.MustCompile(`\s([a-z0-9][a-z0-9_+-]*:[A-Za-z0-9_.+-]*[A-Za-z0-9])\b`)

// Dangling returns the ids of tests that the definition refers to and the document does not have.
func (d *Definition) Dangling() []string {
	var out []string
	var walk func(*Criteria)
	walk = func(c *Criteria) {
		for _, criterion := range c.Criterions {
			if criterion.TestID != "" && criterion.Test.Kind == "" {
				out = append(out, criterion.TestID)
			}
		}
		for i := range c.Groups {
			walk(&c.Groups[i])
		}
	}
	walk(&d.Criteria)
	return out
}

// scope is what is in AND with a place in the criteria.
type scope struct {
	platforms distinct[Platform]
	modules   distinct[string]
	variants  map[string]string // of packages by name
}

// flattener turns a tree into a list.
type flattener struct {
	packages []Package
	named    distinct[Platform] // all platforms of the tree
}

func (f *flattener) walk(c *Criteria, s scope) {
	if c.Negated {
		return
	}
	inner := f.conditions(c)
	if !c.Or {
		s = s.and(inner)
	}
	for i := range c.Criterions {
		f.add(c, &c.Criterions[i], s)
	}
	for i := range c.Groups {
		if c.Groups[i].hasPackages() {
			f.walk(&c.Groups[i], s)
		}
	}
}

// and returns the scope inside a group with conditions of its own.
func (s scope) and(inner scope) scope {
	if len(inner.platforms.items) > 0 {
		s.platforms = inner.platforms
	}
	if len(inner.modules.items) > 0 {
		s.modules = inner.modules
	}
	if len(inner.variants) > 0 {
		s.variants = inner.variants
	}
	return s
}

// conditions collects what is directly in a group, or in a group of conditions in it.
func (f *flattener) conditions(c *Criteria) scope {
	var s scope
	for i := range c.Criterions {
		criterion := &c.Criterions[i]
		if criterion.Negated || criterion.Test.None {
			continue
		}
		if p, ok := criterion.Test.platform(); ok {
			s.platforms.add(p)
			f.named.add(p)
		}
		if m := criterion.Test.module(); m != "" {
			s.modules.add(m)
		}
		if release := criterion.Test.State.Release; release.Operation == patternMatch && len(criterion.Test.Names) == 1 {
			if s.variants == nil {
				s.variants = make(map[string]string)
			}
			s.variants[criterion.Test.Names[0]] = release.Text
		}
	}
	for i := range c.Groups {
		if group := &c.Groups[i]; !group.Negated && !group.hasPackages() {
			inner := f.conditions(group)
			s.platforms.add(inner.platforms.items...)
			s.modules.add(inner.modules.items...)
		}
	}
	return s
}

// hasPackages reports whether a group says something of packages and not only of conditions.
func (c *Criteria) hasPackages() bool {
	for i := range c.Criterions {
		if c.Criterions[i].isPackage() {
			return true
		}
	}
	return slices.ContainsFunc(c.Groups, func(g Criteria) bool { return !g.Negated && g.hasPackages() })
}

// isPackage reports whether a criterion is a statement about a package, and not a condition.
func (c *Criterion) isPackage() bool {
	t := &c.Test
	if c.Negated || t.None || (t.Kind != "rpminfo" && t.Kind != "dpkginfo") {
		return false
	}
	if _, ok := t.platform(); ok {
		return false
	}
	s := &t.State
	switch {
	case t.Unclear != "":
		return true
	case s.EVR.Text != "":
		return s.EVR.Operation != "equals"
	case s.Version.Text != "":
		return s.Version == neverInstalled
	}
	return s.Release.Text == "" && !s.Signature && len(t.Names) > 0 && !isMark(t.Names[0])
}

// neverInstalled is how SUSE says that a package is not affected.
var neverInstalled = Value{"equals", "0"}

// add appends what a criterion says of packages.
func (f *flattener) add(group *Criteria, c *Criterion, s scope) {
	if !c.isPackage() || (!group.Or && c.Test.isInstalled() && slices.ContainsFunc(group.Criterions, isFix)) {
		return
	}
	p := Package{Platforms: s.platforms.items, Modules: s.modules.items, Comment: c.Comment, Problem: c.Test.Unclear}
	state := &c.Test.State
	switch evr := state.EVR; {
	case evr.Text == "":
		p.NotAffected = state.Version == neverInstalled
	case evr.Operation == "less than":
		p.Fixed = withoutZeroEpoch(evr.Text)
		if state.Version.Text != "" {
			p.Introduced, p.Problem = introduced(state.Version, evr.Text)
		}
	case evr.Operation == "greater than" && isZero(evr.Text): // installed, in whatever version
	default:
		p.Problem = "versions " + evr.Operation + " " + evr.Text
	}
	names := c.Test.Names
	if len(names) == 0 {
		names = []string{""}
	}
	for _, p.Name = range names {
		p.Variant = s.variants[p.Name]
		f.packages = append(f.packages, p)
	}
}

// isFix reports whether a criterion tells the version that fixed something.
func isFix(c Criterion) bool { return c.isPackage() && c.Test.State.EVR.Operation == "less than" }

// isInstalled reports whether a test of a package is true for any version.
func (t *Test) isInstalled() bool { return t.State.EVR.Text == "" && t.State.Version.Text == "" }

const patternMatch = "pattern match"

// platform returns the platform that a test asks for.
func (t *Test) platform() (Platform, bool) {
	mark := ""
	switch {
	case t.None:
	case t.Kind == "rpmverifyfile" && t.State.Name.Text != "":
		mark = strings.Trim(t.State.Name.Text, "^$")
	case t.Kind == "rpminfo" && len(t.Names) == 1 && isMark(t.Names[0]) && t.State.EVR.Operation != "less than":
		mark = t.Names[0]
	}
	if mark == "" {
		return Platform{}, false
	}
	version := t.State.Version.Text
	if version == "" {
		version = withoutZeroEpoch(t.State.EVR.Text)
	}
	version = strings.ReplaceAll(strings.TrimPrefix(version, "^"), `\.`, ".")
	p := Platform{mark, leadingVersion.FindString(version)}
	return p, p.Version != ""
}

var leadingVersion = regexp.MustCompile(`^\d+(\.\d+)*`)

// isMark reports whether a package is one that marks a platform.
func isMark(name string) bool { return strings.Contains(name, "-release") }

var (
	moduleFile   = regexp.MustCompile(`^/etc/dnf/modules\.d/([A-Za-z0-9_.+-]+)\.module$`)
	moduleStream = regexp.MustCompile(`\\nstream\\s\*=\\s\*((?:[A-Za-z0-9_.+-]|\\[.+-])+?)\\b`)
)

// module returns the module stream that a test asks for, or "".
func (t *Test) module() string {
	name, stream := moduleFile.FindStringSubmatch(t.Path), moduleStream.FindStringSubmatch(t.State.Text)
	if name == nil || stream == nil {
		return ""
	}
	return name[1] + ":" + strings.ReplaceAll(stream[1], `\`, "")
}

// versionPrefix is a pattern that asks how a version begins.
var versionPrefix = regexp.MustCompile(`^\^?((?:[A-Za-z0-9_~]|\\?\.)+?)(?:\\?\.)?\*?$`)

// introduced returns the first of the versions that match a pattern, with the epoch of the version that fixes them.
// A version without a release is before all with one, as package version has it.
func introduced(pattern Value, fixed string) (version, problem string) {
	m := versionPrefix.FindStringSubmatch(pattern.Text)
	if pattern.Operation != patternMatch || m == nil {
		return "", "versions that " + pattern.Operation + " " + pattern.Text
	}
	version = strings.ReplaceAll(m[1], `\`, "")
	if epoch, _, ok := strings.Cut(withoutZeroEpoch(fixed), ":"); ok {
		version = epoch + ":" + version
	}
	return version, ""
}

// withoutZeroEpoch drops the epoch that a version has anyway.
func withoutZeroEpoch(version string) string { return strings.TrimPrefix(version, "0:") }

// isZero reports whether every version is greater than this one.
func isZero(evr string) bool { return strings.Trim(evr, "0:-") == "" }
