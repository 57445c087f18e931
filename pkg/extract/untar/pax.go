package untar

import (
	"bytes"
	"strconv"
)

// paxRecords are the PAX records (pax(1), "pax Extended Header") that count here. "" is as good as none.
type paxRecords struct {
	name, target, size string
	sparse             bool // in one of GNU's PAX formats
	sparseName         string
}

// parsePAX reads the records of a PAX header: each is its own length in decimal, a space, a key, "=", a value
// and a newline.
func parsePAX(b []byte) (r paxRecords, ok bool) {
	var major, minor string
	var hasMap bool
	for len(b) > 0 {
		digits, _, found := bytes.Cut(b, []byte{' '})
		length, err := strconv.ParseUint(string(digits), 10, 32)
		if !found || err != nil || length < 5 || length > uint64(len(b)) {
			return r, false
		}
		if int(length) <= len(digits)+1 {
			return r, false
		}
		record := b[len(digits)+1 : length]
		b = b[length:]
		record, newline := bytes.CutSuffix(record, []byte{'\n'})
		key, value, found := bytes.Cut(record, []byte{'='})
		if !newline || !found || !validPAX(key, value) {
			return r, false
		}
		switch string(key) {
		case "path":
			r.name = string(value)
		case "linkpath":
			r.target = string(value)
		case "size":
			r.size = string(value)
		case "GNU.sparse.major":
			major = string(value)
		case "GNU.sparse.minor":
			minor = string(value)
		case "GNU.sparse.map", "GNU.sparse.offset":
			hasMap = hasMap || len(value) > 0
		case "GNU.sparse.name":
			r.sparseName = string(value)
		}
	}
	switch {
	case major == "1" && minor == "0", major == "0" && (minor == "0" || minor == "1"):
		r.sparse = true
	case major == "" && minor == "":
		r.sparse = hasMap
	}
	return r, true
}

// validPAX reports whether archive/tar takes the record: no key is empty or has "=" (it cannot here), and what
// names something has no zero byte.
func validPAX(key, value []byte) bool {
	if len(key) == 0 {
		return false
	}
	switch string(key) {
	case "path", "linkpath", "uname", "gname":
		return bytes.IndexByte(value, 0) < 0
	}
	return bytes.IndexByte(key, 0) < 0
}
