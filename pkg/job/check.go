package job

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

func (i Image) check() error {
	if !isUUID(i.Submission) {
		return fmt.Errorf("submission %q: not a lower-case UUID", clip(i.Submission))
	}
	return checkTry(i.Lane, i.Attempt)
}

func (l Layer) check() error {
	switch {
	case l.Digest.IsZero():
		return errors.New("no digest")
	case l.Size < 0:
		return fmt.Errorf("size %d: negative", l.Size)
	case l.Term < 0:
		return fmt.Errorf("term %d: negative", l.Term)
	case len(l.Repositories) == 0:
		return errors.New("no repository")
	case len(l.Repositories) > MaxRepositories:
		return fmt.Errorf("%d repositories: most are %d", len(l.Repositories), MaxRepositories)
	}
	if err := checkText("media type", l.MediaType, maxMediaTypeBytes); err != nil {
		return err
	}
	if err := checkText("prefix", l.Prefix, maxPrefixBytes); err != nil {
		return err
	}
	for _, r := range l.Repositories {
		if r == "" {
			return errors.New("empty repository")
		}
		if err := checkText("repository", r, maxRepositoryBytes); err != nil {
			return err
		}
	}
	return checkTry(l.Lane, l.Attempt)
}

func (d DeadLetter) check() error {
	switch {
	case d.Kind != KindImage && d.Kind != KindLayer:
		return fmt.Errorf("kind %q: want %s or %s", clip(d.Kind), KindImage, KindLayer)
	case d.Attempts < 0:
		return fmt.Errorf("%d attempts: negative", d.Attempts)
	}
	return nil
}

func checkTry(lane Lane, attempt int) error {
	switch {
	case lane > Now:
		return fmt.Errorf("lane %d: unknown", lane)
	case attempt < 0:
		return fmt.Errorf("attempt %d: negative", attempt)
	}
	return nil
}

func checkText(what, s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("%s of %d bytes: most are %d", what, len(s), most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s %q: not UTF-8", what, clip(s))
	}
	return nil
}

// isUUID reports whether s is a UUID in the canonical form, in lower case.
func isUUID(s string) bool {
	const form = "00000000-0000-0000-0000-000000000000"
	if len(s) != len(form) {
		return false
	}
	for i := range len(form) {
		if form[i] == '-' && s[i] != '-' || form[i] == '0' && !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
			return false
		}
	}
	return true
}
