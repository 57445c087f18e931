package ubuntu

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/oval"
)

// The comments of tests about vulnerabilities are sentences made by Canonical's generator (oval_lib.py of
// https://git.launchpad.net/ubuntu-cve-tracker), which say what the tracker says of a source package:
//
//	gcc-mingw-w64 package in focal is affected and may need fixing.
//	openssh source package in noble, is affected and has been fixed (note: '1:9.6p1-3ubuntu13.3').
//	'linux' kernel in noble was vulnerable but has been fixed (note: '6.8.0-84.84').
//	xine-ui: while related to the CVE in some way, a decision has been made to ignore this issue (note: '…').
//
// The test itself is about the binary packages, or about the running kernel; the version in it is the fixed one, and
// that in the note is the same.

// comment is such a sentence, taken apart.
type comment struct {
	source string
	state  state
	note   string
}

// sentence takes a comment apart: the source package, what is said of it, and a note.
var sentence = regexp.MustCompile(`^(?:\(CVE-[0-9-]+\) |The |The vulnerability of the )?` +
	`(?:'?([a-z0-9][a-z0-9+.-]*)'? (?:source package|package|kernel) in [A-Za-z0-9./_-]+,? |([a-z0-9][a-z0-9+.-]*): )` +
	`(.*?)(?: \(note: '(.*)'\))?\.?$`)

// notPackages are the comments of tests that are not about a package.
var notPackages = regexp.MustCompile(
	`^(Is kernel .* running\?|Is the host |The host is |kernel version comparison|Ubuntu .* is installed)`)

// readComment takes a comment apart. about reports whether it is about a package; the error says that what it says
// cannot be understood.
func readComment(text string) (c comment, about bool, err error) {
	m := sentence.FindStringSubmatch(text)
	if m == nil {
		if notPackages.MatchString(text) {
			return comment{}, false, nil
		}
		return comment{}, true, fmt.Errorf("comment %q names no source package", text)
	}
	c = comment{source: m[1] + m[2], note: m[4]}
	for _, s := range states {
		if strings.Contains(m[3], s.words) {
			c.state = s.state
			return c, true, nil
		}
	}
	return c, true, fmt.Errorf("%q is not known", m[3])
}

// state is what the tracker says of a source package in a release.
type state uint8

const (
	released    state = iota + 1 // there is a fixed version
	cameFixed                    // the release came with the fix, or gets it from upstream
	needed                       // affected
	needsTriage                  // nobody has looked
	deferred                     // affected, and will be fixed later
	pending                      // fixed, and not out yet
	ignored                      // affected or not, nothing will be done
	notAffected
	missing // the release does not have it
)

// states are the words by which the states are told; the first that a sentence has in it counts.
var states = []struct {
	words string
	state state
}{
	{"may need fixing", needsTriage},
	{"is not known (status: 'needs-triage')", needsTriage},
	{"needs fixing", needed},
	{"decision has been made to defer", deferred},
	{"pending publication", pending},
	{"decision has been made to ignore", ignored},
	{"is related to the CVE in some way and has been fixed", cameFixed},
	{"has been fixed", released},
	{"is not affected", notAffected},
	{"is not vulnerable", notAffected},
	{"does not exist", missing},
}

// statuses are what the states mean. Of what is ignored the note may say more: that time ran out, or that it had been
// found not to be affected before.
var statuses = map[state]advisory.Status{
	released:    advisory.Fixed,
	cameFixed:   advisory.Fixed,
	needed:      advisory.Affected,
	needsTriage: advisory.UnderInvestigation,
	deferred:    advisory.Deferred,
	pending:     advisory.Affected,
	ignored:     advisory.WillNotFix,
	notAffected: advisory.NotAffected,
}

// outOfTime is how notes say that a release or a package is no longer looked after.
var outOfTime = regexp.MustCompile(`(?i)end[- ]of[- ](li|esm|\w+ support)|\beol\b|out of (standard )?support`)

// otherVersion is a note that says which versions of a package are affected, those of the release not being among
// them. Canonical's generator takes it for a fixed version: a bug of long standing.
var otherVersion = regexp.MustCompile(`^[0-9.x]+ only$`)

// state adds what a test and its comment say of a source package.
func (r *result) state(c *oval.Criterion, namespace, urgency string) {
	said, about, err := readComment(c.Comment)
	if !about || said.state == missing {
		return
	}
	if said.source == "" {
		r.problem("", err.Error())
		return
	}
	one := newRange(namespace, said.source, urgency)
	switch {
	case err != nil:
		one.Problem = err.Error()
	case said.state == cameFixed && otherVersion.MatchString(said.note):
		one.Status = advisory.NotAffected
	case said.state == released, said.state == cameFixed:
		one.Status = advisory.Fixed
		if one.Fixed = fixedVersion(c, said.note); one.Fixed == "" {
			one.Problem = "it is fixed, in a version that is not told"
		}
	case said.state == ignored && strings.HasPrefix(said.note, "was not-affected"):
		one.Status = advisory.NotAffected
	case said.state == ignored && outOfTime.MatchString(said.note):
		one.Status = advisory.EndOfLife
	default:
		one.Status = statuses[said.state]
	}
	if problem := r.ranges.Put(one); problem != "" {
		r.problem("/"+said.source, problem)
	}
}

// fixedVersion returns the version that a test is for versions less than, or else that of the note.
func fixedVersion(c *oval.Criterion, note string) string {
	if evr := c.Test.State.EVR; evr.Operation == "less than" {
		return strings.TrimPrefix(evr.Text, "0:")
	}
	return note
}
