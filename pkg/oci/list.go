package oci

import (
	"bytes"
	"encoding/json"
)

// mostItems is how many items of a list are read: one more than any document may have, so that those are told that have too many.
const mostItems = max(maxLayers, maxChildren, maxImages) + 1

// list is an array in a document. What comes after [mostItems] is not read: an array of empty objects takes some hundred times
// as much memory as its text, and a manifest of 4 MiB would take more than a process has.
type list[T any] []T

// UnmarshalJSON reads an array.
func (l *list[T]) UnmarshalJSON(raw []byte) error {
	if raw[0] != '[' {
		return json.Unmarshal(raw, (*[]T)(l)) // says what it is instead
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return err
	}
	*l = list[T]{}
	for d.More() && len(*l) < mostItems {
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		*l = append(*l, item)
	}
	return nil
}
