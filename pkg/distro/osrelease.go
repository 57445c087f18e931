package distro

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// MaxFileBytes is the size up to which a release file is read. Real ones have some hundred bytes.
const MaxFileBytes = 64 << 10

// maxValueBytes bounds each field of a Distribution.
const maxValueBytes = 512

// ErrNoDistribution is wrapped by the error of a parser that found no statement about the distribution.
// Its kind is [fault.Corrupt].
var ErrNoDistribution = errors.New("names no distribution")

// ParseOSRelease reads etc/os-release or usr/lib/os-release, see os-release(5).
// A line that is no assignment is skipped, as a shell would go on after it; one that assigns to a variable
// that counts here and is malformed is an error. Errors are of kind [fault.Corrupt].
func ParseOSRelease(text string) (Distribution, error) {
	vars, err := assignments("os-release", text, "ID", "VERSION_ID", "VERSION_CODENAME", "UBUNTU_CODENAME", "PRETTY_NAME", "CPE_NAME", "VERSION")
	if err != nil {
		return Distribution{}, err
	}
	d := Distribution{
		ID:        strings.ToLower(vars["ID"]),
		VersionID: vars["VERSION_ID"],
		Codename:  strings.ToLower(vars["VERSION_CODENAME"]),
		Pretty:    vars["PRETTY_NAME"],
		CPE:       vars["CPE_NAME"],
	}
	if d.ID == "" {
		return Distribution{}, noDistribution("os-release")
	}
	if d.Codename == "" {
		d.Codename = strings.ToLower(vars["UBUNTU_CODENAME"])
	}
	if d.Codename == "" {
		d.Codename = codenameIn(d.ID, vars["VERSION"], d.Pretty)
	}
	return d, nil
}

// ParseLSBRelease reads etc/lsb-release, as Ubuntu and its kin write it. Errors are of kind [fault.Corrupt].
func ParseLSBRelease(text string) (Distribution, error) {
	vars, err := assignments("lsb-release", text, "DISTRIB_ID", "DISTRIB_RELEASE", "DISTRIB_CODENAME", "DISTRIB_DESCRIPTION")
	if err != nil {
		return Distribution{}, err
	}
	d := Distribution{
		ID:        slug(vars["DISTRIB_ID"]),
		VersionID: vars["DISTRIB_RELEASE"],
		Codename:  strings.ToLower(vars["DISTRIB_CODENAME"]),
		Pretty:    vars["DISTRIB_DESCRIPTION"],
	}
	if d.ID == "" {
		return Distribution{}, noDistribution("lsb-release")
	}
	return d, nil
}

// codenameIn finds a code name in texts such as "8 (jessie)" or "Debian GNU/Linux stretch/sid",
// which Debian wrote before it had VERSION_CODENAME.
func codenameIn(id string, texts ...string) string {
	for _, text := range texts {
		for _, word := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
			if _, known := Version(id, word); known && word != sid {
				return word
			}
		}
	}
	return ""
}

// assignments returns the values of the wanted variables in a file of shell assignments. The last one counts.
func assignments(file, text string, wanted ...string) (map[string]string, error) {
	if err := checkSize(file, text); err != nil {
		return nil, err
	}
	want := make(map[string]bool, len(wanted))
	for _, name := range wanted {
		want[name] = true
	}
	vars := make(map[string]string, len(wanted))
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		name, raw, ok := strings.Cut(strings.TrimSpace(line), "=")
		if name = strings.TrimPrefix(name, "export "); !ok || !want[name] {
			continue
		}
		value, err := unquote(raw)
		if err != nil {
			return nil, fault.Newf(fault.Corrupt, "parse", file, "line %d: %s: %w", number, name, err)
		}
		vars[name] = value
	}
	return vars, nil
}

// unquote returns the value that a shell gives to raw, the right side of an assignment.
// Expansion is not done: os-release(5) wants "$" escaped.
func unquote(raw string) (string, error) {
	var value strings.Builder
	var quote byte // the quote inside which we are, or 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(raw) {
				return "", errors.New("ends in a backslash")
			}
			if quote == '"' && !strings.ContainsRune("$\"\\`", rune(raw[i])) {
				value.WriteByte('\\') // in double quotes a backslash escapes these four only
			}
			value.WriteByte(raw[i])
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == ' ' || c == '\t' || c == '#' && value.Len() == 0):
			// what follows is a comment, or a command to a shell
			return checkValue(value.String())
		default:
			value.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", errors.New("quote is not closed")
	}
	return checkValue(value.String())
}

// checkValue returns s without surrounding space, or an error if it cannot be a name or version.
func checkValue(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxValueBytes {
		return "", fmt.Errorf("value of %d bytes", len(s))
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", errors.New("value is not printable UTF-8")
	}
	return s, nil
}

func checkSize(file, text string) error {
	if len(text) > MaxFileBytes {
		return fault.Newf(fault.TooLarge, "parse", file, "more than %d bytes", MaxFileBytes)
	}
	return nil
}

func noDistribution(file string) error {
	return fault.New(fault.Corrupt, "parse", file, ErrNoDistribution)
}

// slug makes an ID out of a name: lower case, and everything but letters, digits, "." and "_" a hyphen.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_')
	})
	return strings.Join(words, "-")
}
