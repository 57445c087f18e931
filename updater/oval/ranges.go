package oval

import (
	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// Ranges collects the ranges of one advisory, of which a package has one for each first affected version. Where it is
// given several, the one that a problem befell counts, then the one with the highest fixed version: vendors have
// several where architectures, products or branches differ, and to take the highest says too much, never too little.
// The zero value is empty.
type Ranges struct {
	list  []advisory.Range
	index map[rangeKey]int
}

type rangeKey struct{ namespace, name, introduced string }

// Put adds a range. It returns why the range cannot be understood, or "": its own problem, or that one of its
// versions is none, which then becomes its problem.
func (l *Ranges) Put(one advisory.Range) (problem string) {
	for _, v := range []string{one.Introduced, one.Fixed} {
		if v == "" || one.Problem != "" {
			continue
		}
		if _, err := version.Key(one.Scheme, v); err != nil {
			one.Problem = err.Error()
		}
	}
	key := rangeKey{one.Namespace, one.Name, one.Introduced}
	i, ok := l.index[key]
	switch {
	case !ok:
		if l.index == nil {
			l.index = make(map[rangeKey]int)
		}
		l.index[key] = len(l.list)
		l.list = append(l.list, one)
	case outweighs(one, l.list[i]):
		l.list[i] = one
	}
	return one.Problem
}

// All returns the ranges in the order in which their packages came.
func (l *Ranges) All() []advisory.Range { return l.list }

// outweighs reports whether of two ranges of one package a is the one to keep.
func outweighs(a, b advisory.Range) bool {
	switch {
	case a.Problem != "" || b.Problem != "":
		return b.Problem == ""
	case a.Fixed != "" && b.Fixed != "":
		order, err := version.Compare(a.Scheme, a.Fixed, b.Fixed)
		return err == nil && order > 0
	case a.Fixed != "" || b.Fixed != "":
		return b.Fixed == ""
	}
	return a.Status != advisory.NotAffected && b.Status == advisory.NotAffected
}
