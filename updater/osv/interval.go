package osv

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/version"
)

// interval is a stretch of affected versions: from introduced on, "" being the first version of all; and before end,
// or up to and including it, or without end where end is "".
type interval struct {
	introduced string
	end        string
	inclusive  bool
	fixed      bool // the end is a fixed version

	from, to []byte // keys; nil for the first version of all, and for no end
}

// kind is what an event does, in the order in which events of one version take effect: what ends there and begins
// again goes on, and what is affected last there is affected there.
type kind uint8

const (
	ends kind = iota
	begins
	endsAfter
)

type mark struct {
	kind    kind
	version string
	key     []byte // nil for the first version of all
	fixed   bool
}

// intervals returns the stretches that a list of events comes to, by the algorithm that
// https://ossf.github.io/osv-schema/#evaluation gives for a single version.
func intervals(scheme version.Scheme, events []event) ([]interval, error) {
	marks, limit, err := marksOf(scheme, events)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(marks, func(a, b mark) int {
		return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(a.kind, b.kind))
	})
	var out []interval
	open := false
	for _, m := range marks {
		switch {
		case m.kind == begins && !open:
			out = append(out, interval{introduced: m.version, from: m.key})
			open = true
		case m.kind != begins && open:
			last := &out[len(out)-1]
			last.end, last.to, last.inclusive, last.fixed = m.version, m.key, m.kind == endsAfter, m.fixed
			open = false
		}
	}
	if limit != nil {
		out = before(out, *limit)
	}
	return out, nil
}

// marksOf returns the events as marks, and the last of the limits, if there are any.
func marksOf(scheme version.Scheme, events []event) (marks []mark, limit *mark, err error) {
	key := func(s string) []byte {
		k, bad := version.Key(scheme, s)
		err = errors.Join(err, bad)
		return k
	}
	begun, unlimited := false, false
	for _, e := range events {
		switch {
		case e.Introduced == "0":
			marks = append(marks, mark{kind: begins})
			begun = true
		case e.Introduced != "":
			marks = append(marks, mark{kind: begins, version: e.Introduced, key: key(e.Introduced)})
			begun = true
		case e.Fixed != "":
			marks = append(marks, mark{kind: ends, version: e.Fixed, key: key(e.Fixed), fixed: true})
		case e.LastAffected != "":
			marks = append(marks, mark{kind: endsAfter, version: e.LastAffected, key: key(e.LastAffected)})
		case e.Limit == "*":
			unlimited = true
		case e.Limit != "":
			if m := (mark{version: e.Limit, key: key(e.Limit)}); limit == nil || bytes.Compare(limit.key, m.key) < 0 {
				limit = &m
			}
		default:
			return nil, nil, errors.New("an event of a kind that is not known")
		}
	}
	if err == nil && !begun {
		err = fmt.Errorf("%d events, and none of them introduces it", len(events))
	}
	if unlimited {
		limit = nil
	}
	return marks, limit, err
}

// before returns what of the intervals lies before the limit.
func before(all []interval, limit mark) []interval {
	var out []interval
	for _, i := range all {
		if bytes.Compare(i.from, limit.key) >= 0 {
			continue
		}
		if i.end == "" || bytes.Compare(i.to, limit.key) > 0 || i.inclusive && bytes.Equal(i.to, limit.key) {
			i.end, i.to, i.inclusive, i.fixed = limit.version, limit.key, false, false
		}
		out = append(out, i)
	}
	return out
}

// holds reports whether the version with this key lies in the interval.
func (i interval) holds(key []byte) bool {
	if bytes.Compare(key, i.from) < 0 {
		return false
	}
	c := bytes.Compare(key, i.to)
	return i.end == "" || c < 0 || i.inclusive && c == 0
}

// single is the stretch of one version.
func single(s string, key []byte) interval {
	return interval{introduced: s, end: s, inclusive: true, from: key, to: key}
}
