// Package nvd reads the JSON feeds of the National Vulnerability Database, version 2.0,
// https://nvd.nist.gov/vuln/data-feeds. They describe vulnerabilities: scores, weaknesses, references. What they say
// of affected products, by CPE, is about upstream releases and not about the packages of a distribution; it is not
// read, and no record has ranges.
//
// # Format
//
// One document for the vulnerabilities of each year, one for those that changed in the last eight days, with the
// schema of the API, https://csrc.nist.gov/schema/nvd/api/2.0/cve_api_json_2.0.schema; and beside each a few lines that
// tell its time, sizes and digest.
package nvd

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/cvss"
	"github.com/trawl-scanner/trawl/updater/jsonlist"
)

// Addresses of the feeds. The digest of a feed is at its address with ".meta" for ".json.gz".
const (
	root     = "https://nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-"
	Modified = root + "modified.json.gz" // what changed in the last eight days
)

// FirstYear is the year of the oldest feed, which has the vulnerabilities of all years before too.
const FirstYear = 2002

// Year returns the address of the feed of a year.
func Year(year int) string { return root + strconv.Itoa(year) + ".json.gz" }

// Own is the source that scores of NVD itself have. Those of others keep the name under which NVD publishes them, mostly
// a mail address.
const Own = "nvd"

// Entry is what NVD says about one vulnerability.
type Entry struct {
	advisory.Record             // without ranges; CVSS has all scores, NVD's own first
	Rejected        bool        // the identifier is not, or no longer, that of a vulnerability
	Pages           []Reference // the references with their tags
	Exploited       *Exploited  // nil if it is not in CISA's catalog
}

// Reference is a page about a vulnerability.
type Reference struct {
	URL  string
	Tags []string // NVD's: "Patch", "Exploit", "Vendor Advisory"
}

// Exploited says what CISA's catalog of known exploited vulnerabilities has.
type Exploited struct {
	Added  time.Time // a day, in UTC
	Due    time.Time // a day, in UTC; zero if not told
	Name   string
	Action string
}

// Parse reads a feed as records, which leave out what only entries have. Memory is bounded by the largest
// vulnerability.
func Parse(r io.Reader) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		for entry, err := range Entries(r) {
			if !yield(entry.Record, err) {
				return
			}
		}
	}
}

// Entries reads a feed. It yields an entry and nil; or a [*advisory.BadRecord] for one that cannot be used, or for a
// score in one that can, and goes on; or any other error, and ends.
func Entries(r io.Reader) iter.Seq2[Entry, error] {
	items := jsonlist.Items[item](r, jsonlist.Form{Document: "NVD feed", List: "vulnerabilities", Count: "totalResults"})
	return func(yield func(Entry, error) bool) {
		for i, err := range items {
			if err == nil && !cveID.MatchString(i.CVE.ID) {
				err = &advisory.BadRecord{Subject: i.CVE.ID, Reason: "not the identifier of a vulnerability"}
			}
			if err != nil {
				if !yield(Entry{}, err) {
					return
				}
				continue
			}
			entry, bad := i.CVE.entry()
			for _, b := range bad {
				if !yield(Entry{}, &b) {
					return
				}
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}

var cveID = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)

// item is a vulnerability as the feed has it.
type item struct {
	CVE vulnerability `json:"cve"`
}

type vulnerability struct {
	ID           string `json:"id"`
	Published    string `json:"published"`
	Modified     string `json:"lastModified"`
	Status       string `json:"vulnStatus"`
	Descriptions []text `json:"descriptions"`
	Metrics      struct {
		V40 []metric `json:"cvssMetricV40"`
		V31 []metric `json:"cvssMetricV31"`
		V30 []metric `json:"cvssMetricV30"`
		V2  []metric `json:"cvssMetricV2"`
	} `json:"metrics"`
	Weaknesses []struct {
		Descriptions []text `json:"description"`
	} `json:"weaknesses"`
	References []Reference `json:"references"`
	Added      string      `json:"cisaExploitAdd"`
	Due        string      `json:"cisaActionDue"`
	Action     string      `json:"cisaRequiredAction"`
	Name       string      `json:"cisaVulnerabilityName"`
}

type text struct {
	Lang  string `json:"lang"`
	Value string `json:"value"`
}

type metric struct {
	Source string `json:"source"`
	Data   struct {
		Vector string `json:"vectorString"`
	} `json:"cvssData"`
}

// entry returns what the feed says, and the parts of it that could not be understood.
func (v *vulnerability) entry() (Entry, []advisory.BadRecord) {
	var bad []advisory.BadRecord
	note := func(part string, err error) {
		bad = append(bad, advisory.BadRecord{Subject: v.ID + "/" + part, Reason: err.Error()})
	}
	e := Entry{Record: advisory.Record{ID: v.ID, Link: "https://nvd.nist.gov/vuln/detail/" + v.ID}}
	for _, d := range v.Descriptions {
		if d.Lang == "en" {
			e.Description = d.Value
			break
		}
	}
	e.Published, e.Record.Modified = date(v.Published, note), date(v.Modified, note)
	if v.Status == "Rejected" {
		e.Rejected = true
		return e, bad
	}
	e.CVSS = v.scores(note)
	e.Severity = severity(e.CVSS)
	for _, w := range v.Weaknesses {
		for _, d := range w.Descriptions {
			// The others are "NVD-CWE-noinfo" and "NVD-CWE-Other".
			if strings.HasPrefix(d.Value, "CWE-") && !slices.Contains(e.Weaknesses, d.Value) {
				e.Weaknesses = append(e.Weaknesses, d.Value)
			}
		}
	}
	e.Pages = v.References
	for _, page := range v.References {
		e.References = append(e.References, page.URL)
	}
	if v.Added != "" {
		e.Exploited = &Exploited{Added: day(v.Added, note), Due: day(v.Due, note), Name: v.Name, Action: v.Action}
	}
	return e, bad
}

// scores returns the scores, NVD's own first, newer versions of CVSS before older ones.
func (v *vulnerability) scores(note func(string, error)) []advisory.CVSS {
	var out []advisory.CVSS
	for _, metrics := range [][]metric{v.Metrics.V40, v.Metrics.V31, v.Metrics.V30, v.Metrics.V2} {
		for _, m := range metrics {
			source := m.Source
			if source == "nvd@nist.gov" {
				source = Own
			}
			c, err := cvss.Parse(source, m.Data.Vector)
			if err != nil {
				note("score", fmt.Errorf("of %s: %w", m.Source, err))
			} else if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b advisory.CVSS) int {
		switch {
		case a.Source == Own && b.Source != Own:
			return -1
		case b.Source == Own && a.Source != Own:
			return 1
		}
		return 0
	})
	return out
}

// severity rates a vulnerability by NVD's own score of the newest version of CVSS, where it has none by that of
// whoever scored.
func severity(scores []advisory.CVSS) advisory.Severity {
	own := slices.DeleteFunc(slices.Clone(scores), func(c advisory.CVSS) bool { return c.Source != Own })
	if len(own) > 0 {
		scores = own
	}
	return cvss.Severity(cvss.Preferred(scores))
}

// date reads a time, which NVD writes without zone and means in UTC.
func date(s string, note func(string, error)) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05", s)
	if err != nil && s != "" {
		note("date", err)
	}
	return t
}

// day reads a day.
func day(s string, note func(string, error)) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		note("date", errors.New("not a day: "+strconv.Quote(s)))
	}
	return t
}
