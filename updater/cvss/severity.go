package cvss

import (
	"cmp"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// Severity rates a score. From version 3.0 on the bands are those of the specification's qualitative scale
// (https://www.first.org/cvss/v3.1/specification-document, section 5); for version 2.0, which has none, those
// of NVD (https://nvd.nist.gov/vuln-metrics/cvss), which end with high. A score of 0.0, "none", is negligible.
func Severity(c advisory.CVSS) advisory.Severity {
	switch {
	case c.Version == "":
		return advisory.Unknown
	case c.Score >= 9.0 && c.Version != "2.0":
		return advisory.Critical
	case c.Score >= 7.0:
		return advisory.High
	case c.Score >= 4.0:
		return advisory.Medium
	case c.Score > 0 || c.Version == "2.0":
		return advisory.Low
	}
	return advisory.Negligible
}

// Preferred returns the score that speaks for a vulnerability where there is more than one: the one of the
// newest version, and among those the first. It returns the zero value for none, of which the severity is unknown.
func Preferred(scores []advisory.CVSS) advisory.CVSS {
	if len(scores) == 0 {
		return advisory.CVSS{}
	}
	// MaxFunc returns the first of those that are equal. Versions compare as text.
	return slices.MaxFunc(scores, func(a, b advisory.CVSS) int { return cmp.Compare(a.Version, b.Version) })
}
