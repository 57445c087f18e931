// Package report provides the answer about one image: what is installed, what is known to be wrong
// with it, and what was not looked at.
//
// It computes nothing from the database (package store fills it) and prints nothing.
//
// # Format
//
// The JSON form has the schema that [Schema] returns and carries its version. Within one major
// version fields are only added; a reader ignores what it does not know.
package report

import (
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/digest"
)

// SchemaVersion is the version of the JSON form, "major.minor".
const SchemaVersion = "1.0"

// State says how far the analysis of an image got.
type State string

// The states of an image.
const (
	Pending    State = "pending"    // layers are still to be analyzed
	Complete   State = "complete"   // every layer was analyzed, and read without a problem
	Incomplete State = "incomplete" // something could not be analyzed: see Coverage.Failed
)

// Report is the answer about one image, as of the moment it was made.
type Report struct {
	SchemaVersion string       `json:"schemaVersion"`
	Generated     time.Time    `json:"generated"`
	Image         Image        `json:"image"`
	Distribution  Distribution `json:"distribution"`
	State         State        `json:"state"`
	Layers        []Layer      `json:"layers"`   // base first
	Packages      []Package    `json:"packages"` // sorted by name, version, architecture
	Findings      []Finding    `json:"findings"` // worst first, then by package and id
	Coverage      Coverage     `json:"coverage"`
	Summary       Summary      `json:"summary"`
}

// Image names what was analyzed.
type Image struct {
	Reference string        `json:"reference"` // as asked for; "" where the image was asked for by digest
	Digest    digest.Digest `json:"digest"`    // of the image manifest
	Platform  string        `json:"platform"`  // "linux/amd64"
}

// Distribution is the operating system distribution that the image holds.
type Distribution struct {
	ID        string `json:"id"`      // "debian"; "" where none was recognized
	Version   string `json:"version"` // "12"
	Codename  string `json:"codename,omitempty"`
	Name      string `json:"name"`      // "Debian GNU/Linux 12 (bookworm)"
	Namespace string `json:"namespace"` // "debian:12"
}

// Layer is one layer of the image.
type Layer struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`  // compressed, in bytes; 0 where the manifest does not tell
	State  string        `json:"state"` // "analyzed", "pending", "failed"
}

// Package is one installed package.
type Package struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Arch    string        `json:"arch"`
	Kind    string        `json:"kind"` // purl type: "deb", "rpm", "apk"
	Source  Source        `json:"source"`
	Layer   digest.Digest `json:"layer"` // that brought it
	PURL    string        `json:"purl"`
}

// Source names the source package that a package was built from.
type Source struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Finding is one installed package that one advisory says is vulnerable.
type Finding struct {
	ID         string                   `json:"id"`
	Aliases    []string                 `json:"aliases"`
	Package    string                   `json:"package"`         // name of the installed package
	Arch       string                   `json:"arch"`            // its architecture
	Installed  string                   `json:"installed"`       // its version
	Fixed      string                   `json:"fixed"`           // first version of its source package with the fix; "" where there is none
	State      advisory.Status          `json:"state"`           // of the fix
	Severity   advisory.Severity        `json:"severity"`        // on the common scale: the vendor's, or where that says nothing, NVD's
	SeverityBy string                   `json:"severityBy"`      // the source that said so; "" where none did
	Urgency    string                   `json:"urgency"`         // the vendor's own word, as published
	CVSS       []advisory.CVSS          `json:"cvss"`            // every score known
	CWE        []string                 `json:"cwe"`             // weaknesses: "CWE-787"
	EPSS       *advisory.EPSS           `json:"epss"`            // how probable exploitation is; null where there is no score
	KEV        *advisory.KnownExploited `json:"kev"`             // that it is being exploited; null where it is not in CISA's catalog
	Layer      digest.Digest            `json:"layer"`           // that brought the package
	Source     string                   `json:"source"`          // of the advisory: "debian"
	Link       string                   `json:"link"`            // to the advisory
	Title      string                   `json:"title,omitempty"` // first line of the description
}

// CoverageStatus says in one word what an absence of findings means.
type CoverageStatus string

// The coverage statuses. Only Covered makes "no findings" mean "nothing known".
const (
	Covered        CoverageStatus = "covered"
	Partial        CoverageStatus = "partial"         // advisories were compared, and something could not be read or compared
	NotYetRead     CoverageStatus = "not-yet-read"    // a source speaks for the namespace, and has not been read
	NoSource       CoverageStatus = "no-source"       // no source speaks for the namespace
	NoDistribution CoverageStatus = "no-distribution" // packages, and nothing that tells the distribution
	NoPackages     CoverageStatus = "no-packages"     // no package database was found
)

// Coverage says what the report rests on, and what was not covered.
type Coverage struct {
	Status CoverageStatus `json:"status"`
	Note   string         `json:"note"` // the status as a sentence for people
	// Namespace is where advisories were looked up: the distribution's, or that of the distribution of
	// which it is a rebuild without advisories of its own ("rhel:7" for CentOS 7). "" where there is none.
	Namespace string           `json:"namespace"`
	Sources   []CoverageSource `json:"sources"`   // that speak for the namespace of the image
	Undecided []Undecided      `json:"undecided"` // what could not be compared
	Failed    []Failed         `json:"failed"`    // what could not be read
}

// CoverageSource is a source that speaks for the image, and how old its data is.
type CoverageSource struct {
	Name    string     `json:"name"`
	Updated *time.Time `json:"updated"`         // when upstream's data last changed here; null if never read
	Checked *time.Time `json:"checked"`         // when upstream was last asked; null if never
	Error   string     `json:"error,omitempty"` // why the last run did not succeed
}

// Undecided is a package, or a package and an advisory, about which nothing can be said.
type Undecided struct {
	ID      string `json:"id"` // of the advisory; "" where the package can be compared with none
	Package string `json:"package"`
	Version string `json:"version"`
	Source  string `json:"source"` // of the advisory
	Reason  string `json:"reason"`
}

// Failed is a part of the image that could not be read.
type Failed struct {
	Layer  digest.Digest `json:"layer"`
	Path   string        `json:"path"`   // of the file in the layer; "" for the layer as a whole
	Kind   string        `json:"kind"`   // of the fault: "corrupt", "too-large", "not-found"
	Reason string        `json:"reason"` // what was wrong, for people
}

// Summary counts what the report holds.
type Summary struct {
	Packages   int            `json:"packages"`
	Findings   int            `json:"findings"`   // pairs of advisory and installed package
	Advisories int            `json:"advisories"` // distinct ids among the findings
	Fixable    int            `json:"fixable"`    // findings with a fixed version
	Severities map[string]int `json:"severities"` // findings by severity; every severity is present
	Undecided  int            `json:"undecided"`
	Failed     int            `json:"failed"`
}

// Summarize sets Summary from the rest of the report.
func (r *Report) Summarize() {
	s := Summary{
		Packages: len(r.Packages), Findings: len(r.Findings),
		Undecided: len(r.Coverage.Undecided), Failed: len(r.Coverage.Failed),
		Severities: make(map[string]int),
	}
	for _, severity := range advisory.Severities() {
		s.Severities[severity.String()] = 0
	}
	ids := make(map[string]bool)
	for _, f := range r.Findings {
		ids[f.ID] = true
		s.Severities[f.Severity.String()]++
		if f.Fixed != "" {
			s.Fixable++
		}
	}
	s.Advisories = len(ids)
	r.Summary = s
}

// Worst returns the highest severity among the findings, and false when there are none.
func (r *Report) Worst() (advisory.Severity, bool) {
	worst := advisory.Unknown
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst, len(r.Findings) > 0
}
