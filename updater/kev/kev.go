// Package kev reads the Known Exploited Vulnerabilities catalog of CISA, the cyber security agency of the United
// States, https://www.cisa.gov/known-exploited-vulnerabilities-catalog. The catalog says of a vulnerability that it is
// being exploited; it says nothing about packages.
//
// # Format
//
// One JSON document with a list of "vulnerabilities", and the number of its items. Its schema is
// https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities_schema.json.
package kev

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/updater/jsonlist"
)

// Address is where the catalog is published.
const Address = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"

// Entry says that one vulnerability is being exploited.
type Entry struct {
	CVE        string
	Name       string    // "Progress LoadMaster Command Injection Vulnerability"
	Added      time.Time // to the catalog; a day, in UTC
	Due        time.Time // until when agencies of the United States must act; a day, in UTC; zero if not told
	Ransomware bool      // known to be used in ransomware campaigns; false means that CISA does not know
	Action     string    // what CISA requires, plain text
}

// item is an entry as the document has it.
type item struct {
	ID         string `json:"cveID"`
	Name       string `json:"vulnerabilityName"`
	Added      string `json:"dateAdded"`
	Due        string `json:"dueDate"`
	Action     string `json:"requiredAction"`
	Ransomware string `json:"knownRansomwareCampaignUse"`
}

// Parse reads the catalog. It yields an entry and nil; or a [*advisory.BadRecord] for one that cannot be used, and
// goes on; or any other error, and ends.
func Parse(r io.Reader) iter.Seq2[Entry, error] {
	items := jsonlist.Items[item](r, jsonlist.Form{Document: Address, List: "vulnerabilities", Count: "count"})
	return func(yield func(Entry, error) bool) {
		for i, err := range items {
			var entry Entry
			if err == nil {
				entry, err = i.entry()
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}

var cve = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)

func (i item) entry() (Entry, error) {
	out := Entry{CVE: i.ID, Name: i.Name, Action: i.Action}
	var err error
	switch strings.ToLower(i.Ransomware) {
	case "known":
		out.Ransomware = true
	case "unknown", "":
	default:
		err = fmt.Errorf("ransomware campaign use %q is not known", i.Ransomware)
	}
	if !cve.MatchString(i.ID) {
		err = errors.Join(err, errors.New("not the identifier of a vulnerability"))
	}
	var bad error
	if out.Added, bad = time.Parse(time.DateOnly, i.Added); bad != nil {
		err = errors.Join(err, bad)
	}
	if i.Due != "" {
		if out.Due, bad = time.Parse(time.DateOnly, i.Due); bad != nil {
			err = errors.Join(err, bad)
		}
	}
	if err != nil {
		return Entry{}, &advisory.BadRecord{Subject: i.ID, Reason: err.Error()}
	}
	return out, nil
}
