// Package amazon reads the advisories of Amazon Linux, https://alas.aws.amazon.com/, as its package repositories have
// them.
//
// # Format
//
// A repository is found by a list of mirrors, a line for each ([ParseMirrors]); its index, repodata/repomd.xml below
// the mirror, says where the advisories are ([ParseIndex]); and these are updateinfo.xml
// (https://en.opensuse.org/openSUSE:Standards_Rpm_Metadata_UpdateInfo): [Parse]. An update is one advisory:
// ALAS2-2023-2345, which is the id of the record, and whose vulnerabilities are its aliases.
//
// It knows the core repositories, not the extras of Amazon Linux 2, and no unfixed vulnerabilities, for the
// repositories list none.
package amazon

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/version"
	"github.com/trawl-scanner/trawl/updater/oval"
	"github.com/trawl-scanner/trawl/updater/xmlstream"
)

// maxUpdateBytes bounds an update, as it stands in the document. The largest known has 0.2 MB.
const maxUpdateBytes = 16 << 20

// errStopped ends the walk when the consumer wants no more.
var errStopped = errors.New("stopped")

// Parse reads the advisories of a repository, which speaks for namespace. A record is one update that is about
// security or names a vulnerability; memory is bounded by the largest.
func Parse(r io.Reader, namespace string) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		w := xmlstream.New(r)
		err := w.Document("updates", func(xmlstream.Element) error {
			return w.Children(func(e xmlstream.Element) error {
				if e.Name != "update" {
					return nil
				}
				u := update{w: w, namespace: namespace, kind: e.Attribute("type"), began: w.Offset()}
				if err := w.Children(u.read); err != nil {
					return err
				}
				if !u.emit(yield) {
					return errStopped
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(advisory.Record{}, fault.Wrap("parse", "updateinfo of "+namespace, err))
		}
	}
}

// update is one update as it is read.
type update struct {
	w         *xmlstream.Walker
	namespace string
	kind      string // "security", "bugfix"
	began     int64
	record    advisory.Record
	severity  string
	ranges    oval.Ranges
	bad       []string
}

func (u *update) read(e xmlstream.Element) error {
	var err error
	switch e.Name {
	case "id":
		err = u.text(&u.record.ID)
	case "title":
		var title string
		if err = u.text(&title); u.record.Description == "" {
			u.record.Description = title
		}
	case "description":
		err = u.text(&u.record.Description)
	case "severity":
		err = u.text(&u.severity)
	case "issued":
		u.record.Published, err = oval.Time(e.Attribute("date"))
		err = u.problem(err)
	case "updated":
		u.record.Modified, err = oval.Time(e.Attribute("date"))
		err = u.problem(err)
	case "references":
		err = u.w.Children(u.reference)
	case "pkglist":
		err = u.w.Children(func(xmlstream.Element) error { // a collection
			return u.w.Children(u.pkg)
		})
	}
	if err != nil {
		return err
	}
	return limits.Check("size of an update", "bytes", maxUpdateBytes, u.w.Offset()-u.began)
}

// problem notes what could not be used, which is no reason to stop.
func (u *update) problem(err error) error {
	if err != nil {
		u.bad = append(u.bad, err.Error())
	}
	return nil
}

func (u *update) text(into *string) error {
	text, err := u.w.Text()
	*into = strings.TrimSpace(text)
	return err
}

func (u *update) reference(e xmlstream.Element) error {
	if e.Name == "reference" && strings.EqualFold(e.Attribute("type"), "cve") {
		if id := e.Attribute("id"); id != "" {
			u.record.Aliases = append(u.record.Aliases, id)
		}
	}
	return nil
}

// pkg reads a package: a version in which the vulnerabilities are fixed, for one architecture. Architectures do not
// matter, see package oval.
func (u *update) pkg(e xmlstream.Element) error {
	if e.Name != "package" {
		return nil
	}
	name, fixed := e.Attribute("name"), e.Attribute("version")+"-"+e.Attribute("release")
	if epoch := e.Attribute("epoch"); epoch != "" && epoch != "0" {
		fixed = epoch + ":" + fixed
	}
	if name == "" {
		u.bad = append(u.bad, "a package without a name")
		return nil
	}
	problem := u.ranges.Put(advisory.Range{
		Namespace: u.namespace, Scheme: version.RPM, Name: name, Fixed: fixed, Status: advisory.Fixed,
	})
	if problem != "" {
		u.bad = append(u.bad, name+": "+problem)
	}
	return limits.Check("size of an update", "bytes", maxUpdateBytes, u.w.Offset()-u.began)
}

// emit yields the update. It reports whether the consumer wants more.
func (u *update) emit(yield func(advisory.Record, error) bool) bool {
	if u.kind != "security" && len(u.record.Aliases) == 0 {
		return true
	}
	if u.record.ID == "" {
		return yield(advisory.Record{}, &advisory.BadRecord{Subject: fmt.Sprintf("update at byte %d", u.began), Reason: "it has no id"})
	}
	var known bool
	if u.record.Severity, known = severities[strings.ToLower(u.severity)]; !known {
		u.bad = append(u.bad, fmt.Sprintf("severity %q is not known", u.severity))
	}
	for _, reason := range u.bad {
		if !yield(advisory.Record{}, &advisory.BadRecord{Subject: u.record.ID, Reason: reason}) {
			return false
		}
	}
	u.record.Link = link(u.record.ID)
	u.record.Affected = u.ranges.All()
	for i := range u.record.Affected {
		u.record.Affected[i].Urgency = u.severity
	}
	return yield(u.record, nil)
}

// severities maps Amazon's words, https://alas.aws.amazon.com/faqs.html.
var severities = map[string]advisory.Severity{
	"critical":  advisory.Critical,
	"important": advisory.High,
	"medium":    advisory.Medium,
	"moderate":  advisory.Medium,
	"low":       advisory.Low,
	"":          advisory.Unknown,
}

var release = regexp.MustCompile(`^ALAS(2023|2)?([A-Z-].*)$`)

// link returns the address of an advisory, for people: ALAS2-2018-939 is at AL2/ALAS-2018-939.html.
func link(id string) string {
	m := release.FindStringSubmatch(id)
	if m == nil {
		return ""
	}
	folder := ""
	if m[1] != "" {
		folder = "AL" + m[1] + "/"
	}
	return "https://alas.aws.amazon.com/" + folder + "ALAS" + m[2] + ".html"
}
