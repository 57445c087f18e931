package version

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// Semantic Versioning 2.0.0, sections 2, 9, 10 and 11, and what npm, Go and NuGet make of it.

// refTriple is a version with its numbers (four, for NuGet) and the identifiers of its pre-release.
type refTriple struct {
	numbers []string
	pre     []string
}

const (
	refStrict = `(0|[1-9][0-9]*)`
	refLoose  = `([0-9]+)`
	refPre    = `(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?`
	refBuild  = `(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?`
	refSpace  = " \t\n\v\f\r"
)

var (
	refSemverForm = regexp.MustCompile(`^` + refStrict + `\.` + refStrict + `\.` + refStrict + refPre + refBuild + `$`)
	refNPMForm    = regexp.MustCompile(`^[v=` + refSpace + `]*` + refLoose + `\.` + refLoose + `\.` + refLoose +
		`(?:-?([A-Za-z][0-9A-Za-z-]*(?:\.[0-9A-Za-z-]+)*)|-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?` + refBuild + `$`)
	refGoForm = regexp.MustCompile(`^v?` + refStrict + `(?:\.` + refStrict + `(?:\.` + refStrict + refPre + refBuild + `)?)?$`)
	refGoTool = regexp.MustCompile(`(?s)^go` + refStrict + `(?:\.` + refStrict + `(?:\.` + refStrict + `|([a-z]+)` + refStrict + `?)?)?(?:-.*)?$`)
	refNuForm = regexp.MustCompile(`^` + refLoose + strings.Repeat(`(?:\.`+refLoose+`)?`, 3) + refPre + refBuild + `$`)
	refMinus  = regexp.MustCompile(`^-[0-9]+$`)
	refDigits = regexp.MustCompile(`^[0-9]+$`)
)

func refIdentifiers(pre string) []string {
	if pre == "" {
		return nil
	}
	return strings.Split(pre, ".")
}

func refSemver(s string) *refTriple {
	m := refSemverForm.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	return &refTriple{m[1:4], refIdentifiers(m[4])}
}

func refNPM(s string) *refTriple {
	s = strings.Trim(s, refSpace)
	m := refNPMForm.FindStringSubmatch(s)
	if m == nil || len(s) > 256 {
		return nil
	}
	for _, number := range m[1:4] {
		if refNumber(number).Cmp(big.NewInt(1<<53-1)) > 0 {
			return nil
		}
	}
	return &refTriple{m[1:4], refIdentifiers(m[4] + m[5])}
}

func refGo(s string) *refTriple {
	if m := refGoTool.FindStringSubmatch(s); m != nil {
		return &refTriple{m[1:4], slices.DeleteFunc(m[4:6], func(s string) bool { return s == "" })}
	}
	m := refGoForm.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	return &refTriple{m[1:4], refIdentifiers(m[4])}
}

func refNuGet(s string) *refTriple {
	m := refNuForm.FindStringSubmatch(strings.Trim(s, refSpace))
	if m == nil {
		return nil
	}
	v := &refTriple{m[1:5], refIdentifiers(strings.ToUpper(m[5]))}
	for _, number := range v.numbers {
		if refNumber(number).Cmp(big.NewInt(1<<31-1)) > 0 {
			return nil
		}
	}
	for _, identifier := range v.pre {
		if refMinus.MatchString(identifier) {
			return nil
		}
	}
	return v
}

func refOf(parse func(string) *refTriple, isNumber func(string) bool) func(a, b string) int {
	return func(a, b string) int {
		x, y := parse(a), parse(b)
		for i := range x.numbers {
			if c := refNumber(x.numbers[i]).Cmp(refNumber(y.numbers[i])); c != 0 {
				return c
			}
		}
		if len(x.pre) == 0 || len(y.pre) == 0 {
			return sign(len(y.pre) - len(x.pre))
		}
		return slices.CompareFunc(x.pre, y.pre, func(i, j string) int { // section 11.4
			switch {
			case isNumber(i) && isNumber(j):
				return refNumber(i).Cmp(refNumber(j))
			case isNumber(i):
				return -1
			case isNumber(j):
				return +1
			}
			return strings.Compare(i, j)
		})
	}
}

func refIsNumber(s string) bool { return refDigits.MatchString(s) }

// refIsInt32 is what .NET's int.TryParse says of identifiers that have no sign.
func refIsInt32(s string) bool { return refIsNumber(s) && refNumber(s).Cmp(big.NewInt(1<<31-1)) <= 0 }
