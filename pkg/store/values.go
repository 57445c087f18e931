package store

import (
	"strconv"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/digest"
)

// sums returns digests in the binary form of a bytea[] parameter.
func sums(digests []digest.Digest) [][]byte {
	out := make([][]byte, len(digests))
	for i, d := range digests {
		out[i] = d.Bytes()
	}
	return out
}

// intArray writes an array in the text form of Postgres. A parameter that holds one array per row
// must be a text[] to be cast: arrays of arrays of different lengths do not exist there.
func intArray(ids []int32) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(id)))
	}
	b.WriteByte('}')
	return b.String()
}

// joinList writes a list for string_to_array. The items hold no comma.
func joinList(items []string) string { return strings.Join(items, ",") }

// distinct returns the items each once, in the order in which they first appear.
func distinct[T comparable](items []T) []T {
	seen := make(map[T]bool, len(items))
	out := make([]T, 0, len(items))
	for _, item := range items {
		if !seen[item] {
			seen[item] = true
			out = append(out, item)
		}
	}
	return out
}
