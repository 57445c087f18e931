package oval

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/version"
)

// machine is what a definition can be evaluated against, as OVAL means it.
type machine struct {
	platform  string
	arch      string
	installed map[string]string // versions of packages by name
}

// holds evaluates criteria. The tests are those that generate makes.
func (m machine) holds(c *Criteria) bool {
	truths := make([]bool, 0, len(c.Criterions)+len(c.Groups))
	for i := range c.Criterions {
		truths = append(truths, m.test(&c.Criterions[i].Test))
	}
	for i := range c.Groups {
		truths = append(truths, m.holds(&c.Groups[i]))
	}
	if c.Or {
		return slices.Contains(truths, true)
	}
	return !slices.Contains(truths, false)
}

func (m machine) test(t *Test) bool {
	s := t.State
	switch {
	case t.Names[0] == "example-release" && s.Arch:
		return s.Name.Text == m.arch
	case t.Names[0] == "example-release":
		return s.Version.Text == m.platform
	case s.Signature:
		return true
	}
	v, ok := m.installed[t.Names[0]]
	if !ok || s.EVR.Text == "" {
		return ok
	}
	order, err := version.Compare(version.RPM, v, s.EVR.Text)
	return err == nil && order < 0
}

// generate draws criteria about packages; conditions are only ever in AND with one. It returns nil at the bottom.
func generate(t *rapid.T, depth int) Criteria {
	c := Criteria{Or: rapid.Bool().Draw(t, "or")}
	for range rapid.IntRange(1, 3).Draw(t, "packages") {
		state := State{EVR: Value{"less than", fmt.Sprintf("0:%d-1", rapid.IntRange(1, 3).Draw(t, "fixed"))}}
		if rapid.IntRange(0, 3).Draw(t, "unfixed") == 0 {
			state = State{}
		}
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
		c.Criterions = append(c.Criterions, Criterion{Test: Test{Kind: "rpminfo", Names: []string{name}, State: state}})
	}
	if !c.Or {
		for range rapid.IntRange(0, 2).Draw(t, "conditions") {
			c.Criterions = append(c.Criterions, Criterion{Test: rapid.SampledFrom([]Test{
				{Kind: "rpminfo", Names: []string{"a"}, State: State{Signature: true}},
				{Kind: "rpminfo", Names: []string{"example-release"}, State: State{Arch: true, Name: Value{"equals", "x86_64"}}},
				{Kind: "rpminfo", Names: []string{"example-release"}, State: State{Version: Value{"equals", "8"}}},
			}).Draw(t, "condition")})
		}
	}
	if depth > 0 {
		for range rapid.IntRange(0, 2).Draw(t, "groups") {
			c.Groups = append(c.Groups, generate(t, depth-1))
		}
	}
	return c
}

// TestNeverTooLittle checks on random criteria and machines: where OVAL says that a machine is vulnerable, one of its
// packages is in one of the ranges for its platform.
func TestNeverTooLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Definition{Criteria: Criteria{Or: true}}
		for _, platform := range []string{"8", "9"} {
			d.Criteria.Groups = append(d.Criteria.Groups, Criteria{
				Criterions: []Criterion{{Test: Test{Kind: "rpminfo", Names: []string{"example-release"}, State: State{Version: Value{"equals", platform}}}}},
				Groups:     []Criteria{generate(t, 2)},
			})
		}
		m := machine{
			platform: rapid.SampledFrom([]string{"8", "9"}).Draw(t, "platform"), arch: rapid.SampledFrom([]string{"x86_64", "aarch64"}).Draw(t, "arch"),
			installed: make(map[string]string),
		}
		for _, name := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, "installed") {
				m.installed[name] = fmt.Sprintf("%d-1", rapid.IntRange(0, 3).Draw(t, "version"))
			}
		}
		if !m.holds(&d.Criteria) {
			return
		}
		for _, p := range d.Packages() {
			v, ok := m.installed[p.Name]
			here := slices.Contains(p.Platforms, Platform{"example-release", m.platform})
			if !ok || !here {
				continue
			}
			if order, err := version.Compare(version.RPM, v, p.Fixed); p.Fixed == "" || (err == nil && order < 0) {
				return
			}
		}
		t.Fatalf("vulnerable, and in no range:\n%+v\n%+v", m, d.Packages())
	})
}
