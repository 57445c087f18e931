package registry

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind says what a request is for. Registries count them differently: Docker Hub takes a GET of a
// manifest for a pull, and counts neither its HEAD nor blobs (docs.docker.com/docker-hub/usage/pulls).
type Kind string

// The kinds of request.
const (
	KindManifest Kind = "manifest"
	KindBlob     Kind = "blob"
	KindToken    Kind = "token"
)

// Request describes a request that is about to be made, or was.
type Request struct {
	Host       string // that is asked: "registry-1.docker.io", "auth.docker.io"
	Repository Repository
	Kind       Kind
	Method     string // GET, HEAD or POST
	// Account is the name of the credential that it is made with, see [Credential.Account]. A registry that was not asked before
	// is asked as nobody first.
	Account string
}

// Response describes the answer of a registry or token server to one request.
type Response struct {
	Request
	Status int
	// Limit and Remaining are how many requests of this kind the host allows, and how many it still
	// does, in each Window: the headers ratelimit-limit and ratelimit-remaining. -1 where not told.
	Limit, Remaining int64
	Window           time.Duration // 0 where not told
	// Source is to whom the limit applies, an address or an account: docker-ratelimit-source.
	Source string
	// RetryAfter is how long the host asks to wait. 0 where it does not.
	RetryAfter time.Duration
}

func observed(req Request, resp *http.Response, now time.Time) Response {
	r := Response{Request: req, Status: resp.StatusCode, Source: resp.Header.Get("Docker-Ratelimit-Source")}
	r.Limit, r.Window = parseLimit(resp.Header.Get("Ratelimit-Limit"))
	var window time.Duration
	r.Remaining, window = parseLimit(resp.Header.Get("Ratelimit-Remaining"))
	if r.Window == 0 {
		r.Window = window
	}
	r.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), now)
	return r
}

// parseLimit reads "100;w=21600", and of "100, 100;w=60" the last item that has a window. It returns
// -1 for what is no number.
func parseLimit(s string) (int64, time.Duration) {
	var window time.Duration
	count := int64(-1)
	for item := range strings.SplitSeq(s, ",") {
		number, params, _ := strings.Cut(item, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 {
			continue
		}
		count = n
		for param := range strings.SplitSeq(params, ";") {
			if w, ok := strings.CutPrefix(strings.TrimSpace(param), "w="); ok {
				window = seconds(w)
			}
		}
	}
	return count, window
}

// parseRetryAfter reads the two forms of RFC 9110, section 10.2.3: seconds, or a date.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if at, err := http.ParseTime(s); err == nil {
		return min(max(0, at.Sub(now)), maxAfter)
	}
	return seconds(strings.TrimSpace(s))
}

// maxAfter is the longest wait that is believed.
const maxAfter = 7 * 24 * time.Hour

// seconds reads a whole number of seconds. It returns 0 for what is none.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0
	}
	return time.Duration(min(n, uint64(maxAfter/time.Second))) * time.Second
}
