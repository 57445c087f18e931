package bundle

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// recordLine is an [advisory.Record] on a line.
type recordLine struct {
	ID          string            `json:"id"`
	Aliases     []string          `json:"aliases,omitempty"`
	Severity    advisory.Severity `json:"severity,omitempty"`
	Description string            `json:"description,omitempty"`
	Link        string            `json:"link,omitempty"`
	CVSS        []advisory.CVSS   `json:"cvss,omitempty"`
	Weaknesses  []string          `json:"weaknesses,omitempty"`
	References  []string          `json:"references,omitempty"`
	Published   *time.Time        `json:"published,omitempty"`
	Modified    *time.Time        `json:"modified,omitempty"`
	Ranges      []rangeLine       `json:"ranges,omitempty"`
}

// rangeLine is an [advisory.Range] in a line.
type rangeLine struct {
	Namespace  string            `json:"in"`
	Scheme     version.Scheme    `json:"scheme"`
	Name       string            `json:"name"`
	Introduced string            `json:"introduced,omitempty"`
	Fixed      string            `json:"fixed,omitempty"`
	Last       string            `json:"last,omitempty"`
	Status     advisory.Status   `json:"status"`
	Severity   advisory.Severity `json:"severity,omitempty"`
	Urgency    string            `json:"urgency,omitempty"`
	Problem    string            `json:"problem,omitempty"`
}

// exploitationLine is an [advisory.Exploitation] on a line.
type exploitationLine struct {
	CVE   string                   `json:"cve"`
	Known *advisory.KnownExploited `json:"known,omitempty"`
	Score *advisory.EPSS           `json:"score,omitempty"`
}

func formatRecord(r advisory.Record) ([]byte, error) {
	line := recordLine{
		ID: r.ID, Aliases: r.Aliases, Severity: r.Severity, Description: r.Description, Link: r.Link, CVSS: r.CVSS,
		Weaknesses: r.Weaknesses, References: r.References, Published: timeOrNil(r.Published), Modified: timeOrNil(r.Modified),
	}
	for _, a := range r.Affected {
		line.Ranges = append(line.Ranges, rangeLine(a))
	}
	return json.Marshal(line)
}

func parseRecord(text []byte) (advisory.Record, error) {
	var line recordLine
	if err := strict(text, &line); err != nil {
		return advisory.Record{}, err
	}
	if line.ID == "" {
		return advisory.Record{}, fmt.Errorf("%.80q: no identifier", text)
	}
	r := advisory.Record{
		ID: line.ID, Aliases: line.Aliases, Severity: line.Severity, Description: line.Description, Link: line.Link, CVSS: line.CVSS,
		Weaknesses: line.Weaknesses, References: line.References, Published: timeOrZero(line.Published), Modified: timeOrZero(line.Modified),
	}
	for _, a := range line.Ranges {
		if a.Namespace == "" || a.Name == "" || !slices.Contains(version.Schemes(), a.Scheme) {
			return advisory.Record{}, fmt.Errorf("%s: a range has no namespace, no name, or a scheme of versions that is not known here", cut(line.ID))
		}
		r.Affected = append(r.Affected, advisory.Range(a))
	}
	return r, nil
}

func formatExploitation(e advisory.Exploitation) ([]byte, error) {
	return json.Marshal(exploitationLine(e))
}

func parseExploitation(text []byte) (advisory.Exploitation, error) {
	var line exploitationLine
	if err := strict(text, &line); err != nil {
		return advisory.Exploitation{}, err
	}
	if line.CVE == "" || (line.Known == nil) == (line.Score == nil) {
		return advisory.Exploitation{}, fmt.Errorf("%.80q: want an identifier, and one of known and score", text)
	}
	return advisory.Exploitation(line), nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// cut shortens a text for an error.
func cut(text string) string { return fmt.Sprintf("%.80q", text) }
