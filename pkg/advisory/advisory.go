// Package advisory provides the nouns of "what is known": the advisory, the version ranges it
// affects, and the source that publishes it.
//
// It parses no feed (package updater does) and compares no version (the store does, by key).
package advisory

import (
	"iter"
	"time"

	"github.com/trawl-scanner/trawl/pkg/version"
)

// Source is an upstream that publishes advisories.
type Source struct {
	Name    string        `json:"name"`    // "debian"; stable, used on the command line and in reports
	Title   string        `json:"title"`   // "Debian security tracker"
	URL     string        `json:"url"`     // where a person reads about it
	Licence string        `json:"licence"` // of the data, as upstream states it
	Cadence time.Duration `json:"cadence"` // how often upstream publishes, and so how often to look
	// Covers are the namespaces that the source speaks for, as path.Match patterns ("alpine:*").
	// What a source covers and has not been read yet is "not known", never "not vulnerable".
	Covers []string `json:"covers"`
}

// Record is one advisory, or a part of one, as a feed lists it. A feed may name the same advisory in
// many records, each with other ranges; the fields that describe the advisory itself are then taken
// from the first record that has them.
type Record struct {
	ID          string    // as the source names it: "CVE-2021-3711", "RHSA-2024:1234"
	Aliases     []string  // other names of the same vulnerability
	Description string    // plain text
	Link        string    // to the advisory, for people
	Severity    Severity  // of the advisory as a whole; a range may have its own
	CVSS        []CVSS    // all scores known to this source
	Weaknesses  []string  // of the Common Weakness Enumeration: "CWE-787"
	References  []string  // addresses of pages about it
	Published   time.Time // zero if not told
	Modified    time.Time // zero if not told
	Affected    []Range
}

// Range says which versions of one package in one namespace an advisory is about.
type Range struct {
	Namespace string         // "debian:12"
	Scheme    version.Scheme // how its versions are ordered
	Name      string         // as releases of the namespace are named, see package inventory
	// Introduced is the first affected version; "" means all before Fixed.
	Introduced string
	// Fixed is the first version no longer affected; "" means all from Introduced on, up to Last if that is set.
	Fixed string
	// Last is the last affected version, where a source tells that instead of Fixed.
	Last   string
	Status Status
	// Severity is what the source says for this package; Unknown means see the advisory.
	Severity Severity
	// Urgency is the source's own word for it, as published: "medium", "not yet assigned".
	Urgency string
	// Problem is why the feed's own words for this range could not be understood, or "". Every release
	// of the name is undecided then: what cannot be read is never "not affected".
	Problem string
}

// CVSS is one score of the Common Vulnerability Scoring System, https://www.first.org/cvss/.
type CVSS struct {
	Source  string  `json:"source"`  // who scored: "nvd", "redhat"
	Version string  `json:"version"` // "2.0", "3.0", "3.1", "4.0"
	Vector  string  `json:"vector"`  // as published
	Score   float64 `json:"score"`   // base score, 0.0 to 10.0
}

// Exploitation is what is known of the exploitation of one vulnerability, beside packages. A source fills one of the two.
type Exploitation struct {
	CVE   string
	Known *KnownExploited // nil: not in the catalog
	Score *EPSS           // nil: there is none
}

// Exploitations is a feed of such facts being read; errors are as in [Records].
type Exploitations = iter.Seq2[Exploitation, error]

// EPSS is a score of the Exploit Prediction Scoring System, https://www.first.org/epss/.
type EPSS struct {
	Probability float32 `json:"probability"` // of exploitation within thirty days, 0 to 1
	Percentile  float32 `json:"percentile"`  // share of all vulnerabilities that are no more probable, 0 to 1
}

// KnownExploited says that a vulnerability is being exploited, as CISA's catalog has it.
type KnownExploited struct {
	Added      time.Time `json:"added"`      // to the catalog; a day, UTC
	Due        time.Time `json:"due"`        // until when agencies must act; a day, UTC; zero if not told
	Ransomware bool      `json:"ransomware"` // known to be used in ransomware campaigns; false means that CISA does not know
	Name       string    `json:"name"`
	Action     string    `json:"action"` // that is required
}

// BadRecord names a record of a feed that could not be used, and why. As an error in a [Records]
// it is about that record alone: the ones behind it follow.
type BadRecord struct {
	Subject string `json:"subject"` // which record: "openssl/CVE-2021-3711/bullseye"
	Reason  string `json:"reason"`
	// ID and Name are the advisory and the package that the record is about, as far as they can be told. What the
	// feed said about them before stays in force: what cannot be read withdraws nothing.
	ID   string `json:"-"`
	Name string `json:"-"`
}

func (b *BadRecord) Error() string { return b.Subject + ": " + b.Reason }

// Records is a feed being read. It yields a record and nil, or a zero record and an error: a
// [*BadRecord], after which it goes on, or any other, after which it ends, the feed being broken.
type Records = iter.Seq2[Record, error]
