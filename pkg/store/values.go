package store

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

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

// clean returns text that Postgres takes: valid UTF-8 without NUL. Anything else is replaced by U+FFFD, so
// that it shows.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// cleanAll is clean for each of a list; the list is not nil.
func cleanAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = clean(text)
	}
	return out
}

// timeOrNull returns the null of a timestamp for the zero time.
func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// jsonText returns v as the text of a jsonb value. Postgres takes no NUL in one, which JSON writes as
// an escape.
func jsonText(v any) (string, error) {
	encoded, err := json.Marshal(v)
	if err != nil || !bytes.Contains(encoded, []byte(`\u0000`)) {
		return string(encoded), err
	}
	out := make([]byte, 0, len(encoded))
	for i := 0; i < len(encoded); i++ {
		switch {
		case bytes.HasPrefix(encoded[i:], []byte(`\u0000`)):
			out = append(out, `\ufffd`...)
			i += len(`\u0000`) - 1
		case encoded[i] == '\\': // an escape of two characters, the second of which may be a backslash
			out = append(out, encoded[i], encoded[i+1])
			i++
		default:
			out = append(out, encoded[i])
		}
	}
	return string(out), nil
}
