package oval

import "slices"

// distinct is a list that has each item once, in the order in which they came. The zero value is empty.
type distinct[T comparable] struct {
	items []T
	has   map[T]bool // once there are many
}

// searched is how many items are sooner searched than looked up.
const searched = 16

func (l *distinct[T]) add(items ...T) {
	for _, item := range items {
		if l.contains(item) {
			continue
		}
		l.items = append(l.items, item)
		if l.has != nil {
			l.has[item] = true
		} else if len(l.items) > searched {
			l.has = make(map[T]bool, 2*searched)
			for _, i := range l.items {
				l.has[i] = true
			}
		}
	}
}

func (l *distinct[T]) contains(item T) bool {
	if l.has != nil {
		return l.has[item]
	}
	return slices.Contains(l.items, item)
}
