package registry

import (
	"strconv"
	"strings"
)

// contentRange is the value of a Content-Range header (RFC 9110, section 14.4).
type contentRange struct {
	first, last int64 // of the bytes in the answer; -1 where it has none ("bytes */123")
	total       int64 // of the whole; -1 where it is not known
}

// parseContentRange reads "bytes 7-9/10", "bytes 7-9/*" and "bytes */10".
func parseContentRange(s string) (contentRange, bool) {
	unit, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	span, total, ok := strings.Cut(strings.TrimSpace(rest), "/")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return contentRange{}, false
	}
	c := contentRange{first: -1, last: -1, total: -1}
	if total != "*" {
		if c.total, ok = number(total); !ok {
			return contentRange{}, false
		}
	}
	if span == "*" {
		return c, c.total >= 0
	}
	first, last, _ := strings.Cut(span, "-")
	var okFirst, okLast bool
	c.first, okFirst = number(first)
	c.last, okLast = number(last)
	valid := okFirst && okLast && c.first <= c.last && (c.total < 0 || c.last < c.total)
	if !valid {
		return contentRange{}, false
	}
	return c, true
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
