package redhat

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// change is that a document came, changed or went.
type change struct {
	path string // below Address: "2023/cve-2023-6238.json"
	at   time.Time
	gone bool
}

// documentPath is the form of a path. Anything else is not asked for.
var documentPath = regexp.MustCompile(`^\d{4}/(cve-\d{4}-\d{4,})\.json$`)

// documentID returns the vulnerability that the document at a path is about, or "".
func documentID(path string) string {
	m := documentPath.FindStringSubmatch(path)
	if m == nil {
		return ""
	}
	return strings.ToUpper(m[1])
}

// Bounds of a list: of the length of a line, real ones having some sixty bytes, and of the number of lines
// that cannot be read.
const (
	maxLineBytes = 4 << 10
	maxBadLines  = 1000
)

// parseChanges reads changes.csv or deletions.csv, lists of path and RFC 3339 time without a header, as far as they
// are about the time after the given one. The whole list is read: nothing promises its order. Lines that cannot be
// read are bad records. A list of nothing else is a fault of kind Corrupt.
func parseChanges(r io.Reader, list string, gone bool, after time.Time) ([]change, []advisory.BadRecord, error) {
	var out []change
	var bad []advisory.BadRecord
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	n, good := 0, 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		c, err := parseChange(lines.Text())
		if err != nil {
			bad = append(bad, advisory.BadRecord{Subject: fmt.Sprintf("%s line %d", list, n), Reason: err.Error()})
			if len(bad) > maxBadLines {
				return nil, nil, fault.New(fault.Corrupt, "read", list, &bad[0])
			}
			continue
		}
		good++
		if c.gone = gone; c.at.After(after) {
			out = append(out, c)
		}
	}
	err := lines.Err()
	if err == nil && good == 0 && len(bad) > 0 {
		err = &bad[0]
	}
	if err != nil {
		kind := fault.KindOf(err)
		if kind == fault.Unknown {
			kind = fault.Corrupt
		}
		return nil, nil, fault.New(kind, "read", list, err)
	}
	return out, bad, nil
}

// parseChange reads a line: "2023/cve-2023-6238.json","2026-05-07T13:49:43+00:00".
func parseChange(line string) (change, error) {
	file, moment, ok := strings.Cut(strings.TrimSpace(line), ",")
	file, moment = strings.Trim(file, `"`), strings.Trim(moment, `"`)
	if !ok || !documentPath.MatchString(file) {
		return change{}, fmt.Errorf("%.80q does not begin with the path of a document", line)
	}
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		return change{}, err
	}
	return change{path: file, at: at.UTC()}, nil
}

// batch returns the next changes to read, oldest first, each document once, and the time up to which they go. Changes
// of the same time stay together, so there may be more than most. It reports whether they are all.
func batch(changes []change, most int) (next []change, until time.Time, all bool) {
	slices.SortFunc(changes, func(a, b change) int {
		// Of a document that went and came in the same moment, its coming counts.
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.path, b.path), boolCompare(b.gone, a.gone))
	})
	end := len(changes)
	if end > most {
		end = most
		for end < len(changes) && changes[end].at.Equal(changes[end-1].at) {
			end++
		}
	}
	last := make(map[string]int)
	for i, c := range changes[:end] {
		last[c.path] = i
	}
	for i, c := range changes[:end] {
		if last[c.path] == i {
			next = append(next, c)
		}
	}
	if end > 0 {
		until = changes[end-1].at
	}
	return next, until, end == len(changes)
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
