// Package cvss reads vectors of the Common Vulnerability Scoring System, versions 2.0, 3.0, 3.1 and 4.0
// (https://www.first.org/cvss/), computes their base scores, and rates them on the program's scale of severities.
//
// The score is always computed from the vector. What a feed prints beside a vector is not looked at: it is
// now and then another vector's. The package does not choose among sources; who asks it says who scored.
package cvss

import (
	"errors"
	"fmt"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// MaxLength is the length, in bytes, up to which a vector is read. One of version 4.0 that spells out all
// its metrics has some 200.
const MaxLength = 512

// Parse reads a vector as source published it. A vector of version 2.0 has no prefix that tells its
// version, and may stand in parentheses. The score is that of the base metrics: temporal, threat and
// environmental ones stay in the vector and out of the score. (Of the version 4.0 vectors that NVD publishes with
// a threat metric, some have the score without it and some the score with it.) The error says what is wrong with the
// vector; it carries no kind, being about a part of a record.
func Parse(source, vector string) (advisory.CVSS, error) {
	vector = strings.TrimSpace(vector)
	if len(vector) > MaxLength {
		return advisory.CVSS{}, fmt.Errorf("vector of %d bytes is longer than %d", len(vector), MaxLength)
	}
	c := advisory.CVSS{Source: source, Vector: vector}
	var err error
	switch version, _, prefixed := strings.Cut(strings.TrimPrefix(vector, "CVSS:"), "/"); {
	case !strings.HasPrefix(vector, "CVSS:"):
		c.Version = "2.0"
		c.Vector = strings.TrimSuffix(strings.TrimPrefix(vector, "("), ")")
		c.Score, err = score2(c.Vector)
	case !prefixed:
		err = errors.New("no metrics")
	default:
		c.Version = version
		c.Score, err = score(version, vector)
	}
	if err != nil {
		return advisory.CVSS{}, fmt.Errorf("vector %q: %w", vector, err)
	}
	return c, nil
}

func score2(vector string) (float64, error) {
	v, err := gocvss20.ParseVector(vector)
	if err != nil {
		return 0, err
	}
	return v.BaseScore(), nil
}

func score(version, vector string) (float64, error) {
	switch version {
	case "3.0":
		v, err := gocvss30.ParseVector(vector)
		if err != nil {
			return 0, err
		}
		return v.BaseScore(), nil
	case "3.1":
		v, err := gocvss31.ParseVector(vector)
		if err != nil {
			return 0, err
		}
		return v.BaseScore(), nil
	case "4.0":
		return score4(vector)
	}
	return 0, fmt.Errorf("version %q is not known", version)
}

// notBase are the metrics of version 4.0 outside the base group that take part in its score, see
// https://www.first.org/cvss/v4.0/specification-document, sections 3 and 4.
var notBase = [...]string{
	"E", "CR", "IR", "AR", "MAV", "MAC", "MAT", "MPR", "MUI", "MVC", "MVI", "MVA", "MSC", "MSI", "MSA",
}

func score4(vector string) (float64, error) {
	v, err := gocvss40.ParseVector(vector)
	if err != nil {
		return 0, err
	}
	for _, metric := range notBase {
		if err := v.Set(metric, "X"); err != nil {
			return 0, err
		}
	}
	return v.Score(), nil
}
