package version

import (
	"regexp"
	"strings"
)

// Composer: the normal form that its VersionParser makes, compared as the manual of PHP's
// version_compare says.

const refPackagistEnd = `[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?[0-9]+)*)?)?([.-]?dev)?$`

var (
	refPackagistClassic = regexp.MustCompile(`(?i)^v?([0-9]{1,5})(\.[0-9]+)?(\.[0-9]+)?(\.[0-9]+)?` + refPackagistEnd)
	refPackagistDate    = regexp.MustCompile(`(?i)^v?([0-9]{4}(?:[.:-]?[0-9]{2}){1,6}(?:[.:-]?[0-9]{1,3}){0,2})` + refPackagistEnd)
	refPackagistBranch  = regexp.MustCompile(`(?i)^v?([0-9]+)(?:\.([0-9]+|[x*]))?(?:\.([0-9]+|[x*]))?(?:\.([0-9]+|[x*]))?[.-]?dev$`)
	refPackagistBuild   = regexp.MustCompile(`^([^+]+)\+[^ \t\n\v\f\r]+$`)
	refPackagistNamed   = regexp.MustCompile(`^(master|trunk|default|(?is:dev-.*))$`)
	refPackagistDot     = regexp.MustCompile(`[.:-]`)
	refPackagistTokens  = regexp.MustCompile(`[0-9]+|[A-Za-z]+`)
)

var refPackagistStability = map[string]string{"a": "alpha", "b": "beta", "rc": "RC", "p": "patch", "pl": "patch"}

// refPackagistNormal returns the normal form, or nothing for what has none or cannot be compared.
func refPackagistNormal(s string) string {
	s = strings.Trim(s, refSpace)
	if refPackagistNamed.MatchString(s) {
		return ""
	}
	s = refPackagistBuild.ReplaceAllString(s, "$1")
	normal, end := "", []string(nil)
	if m := refPackagistClassic.FindStringSubmatch(s); m != nil {
		normal, end = m[1], m[5:]
		for _, number := range m[2:5] {
			if number == "" {
				number = ".0"
			}
			normal += number
		}
	} else if m := refPackagistDate.FindStringSubmatch(s); m != nil {
		normal, end = refPackagistDot.ReplaceAllString(m[1], "."), m[2:]
	} else if m := refPackagistBranch.FindStringSubmatch(s); m != nil {
		for _, number := range m[1:] {
			if number == "" || strings.ContainsAny(number, "xX*") {
				number = "9999999"
			}
			normal += number + "."
		}
		return strings.TrimSuffix(normal, ".") + "-dev"
	}
	if end == nil || end[0] == "stable" {
		return normal
	}
	word := strings.ToLower(end[0])
	if long, ok := refPackagistStability[word]; ok {
		word = long
	}
	if word != "" {
		normal += "-" + word + strings.TrimLeft(end[1], ".-")
	}
	if end[2] != "" {
		normal += "-dev"
	}
	return normal
}

// refPackagistForms are the special forms of version_compare; what is none of them comes first.
var refPackagistForms = []string{"dev", "alpha", "beta", "RC", "#", "patch"}

func refPackagistForm(token string) int {
	if isDigit(token[0]) {
		token = "#"
	}
	for i, form := range refPackagistForms {
		if token == form {
			return i
		}
	}
	return -1
}

func refPackagistCompare(a, b string) int {
	x := refPackagistTokens.FindAllString(refPackagistNormal(a), -1)
	y := refPackagistTokens.FindAllString(refPackagistNormal(b), -1)
	for i := range min(len(x), len(y)) {
		if isDigit(x[i][0]) && isDigit(y[i][0]) {
			if c := refNumber(x[i]).Cmp(refNumber(y[i])); c != 0 {
				return c
			}
		} else if c := refPackagistForm(x[i]) - refPackagistForm(y[i]); c != 0 {
			return sign(c)
		}
	}
	switch {
	case len(x) == len(y):
		return 0
	case len(x) < len(y):
		return -refPackagistRest(y[len(x)])
	}
	return refPackagistRest(x[len(y)])
}

// refPackagistRest says how a version that goes on with a token stands to the one that ends.
func refPackagistRest(token string) int {
	if isDigit(token[0]) {
		return +1
	}
	return sign(refPackagistForm(token) - refPackagistForm("0"))
}
