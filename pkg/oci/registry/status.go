package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// refusal is an answer that is not what was asked for.
type refusal struct {
	host       string // that answered
	registry   string // on whose behalf, as people name it
	status     int
	header     http.Header
	text       string // the beginning of the body
	as         string // who asked; see [authorization]
	redirected bool   // host is not the registry but where it redirected to
	token      bool   // host is a token server
}

func (r *reply) refusal(registry string) refusal {
	return refusal{
		host: r.host, registry: registry, status: r.StatusCode, header: r.Header,
		text: readText(r.Body), as: r.auth.as, redirected: r.redirected,
	}
}

// statusError makes an error of a refusal: a [*fault.Error] with the kind and the delay that the
// status means.
func statusError(r refusal) error {
	detail := r.detail()
	e := fault.New(r.kind(), r.host, "", nil)
	e.After = parseRetryAfter(r.header.Get("Retry-After"), time.Now())
	switch {
	case e.Kind == fault.Unauthorized:
		who := cmp.Or(r.as, "anonymous")
		e.Err = fmt.Errorf("%s; no such repository, or no access to it as %s; to log in: docker login %s", detail, who, r.registry)
	case e.Kind == fault.RateLimited && r.isPullLimit():
		e.Err = fmt.Errorf("pull limit of this account or address reached: %s", detail)
	case e.Kind == fault.RateLimited:
		e.Err = fmt.Errorf("too many requests, whatever they are for: %s", detail)
	case r.status == http.StatusBadRequest && strings.Contains(r.text, "HTTP request to an HTTPS server"):
		e.Err = errors.New("it speaks TLS and was asked without: do not list it as plain HTTP")
	default:
		e.Err = errors.New(detail)
	}
	return e
}

// kind returns what a status means to whoever asks for a manifest, a blob or a token.
func (r refusal) kind() fault.Kind {
	switch s := r.status; {
	case r.redirected && (s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusBadRequest):
		return fault.Unavailable // a signed address that has expired: the registry gives a new one
	case s == http.StatusUnauthorized, s == http.StatusForbidden,
		s == http.StatusPaymentRequired, s == http.StatusUnavailableForLegalReasons:
		return fault.Unauthorized
	case s == http.StatusNotFound && r.token:
		return fault.Unavailable
	case s == http.StatusBadRequest && r.token: // RFC 6749, section 5.2: also for a token that has expired
		return fault.Unauthorized
	case s == http.StatusNotFound, s == http.StatusGone:
		return fault.NotFound
	case s == http.StatusTooManyRequests:
		return fault.RateLimited
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusMisdirectedRequest, s >= 500, s < 400:
		return fault.Unavailable
	}
	return fault.Invalid
}

// isPullLimit tells Docker Hub's limit of pulls, after which one waits for hours, from its limit of
// requests of any kind, which is a matter of seconds. The former has the long text
// (docs.docker.com/docker-hub/usage/pulls).
func (r refusal) isPullLimit() bool {
	text := strings.ToLower(r.text)
	return strings.Contains(text, "pull rate limit") || strings.Contains(text, `"toomanyrequests"`) && strings.Contains(text, "pull")
}

// detail returns the status and what the body says about it.
func (r refusal) detail() string {
	s := fmt.Sprintf("%d %s", r.status, http.StatusText(r.status))
	if text := describe(r.text); text != "" {
		s += ": " + text
	}
	return s
}

// maxTextBytes is how much of the body of a refusal is looked at.
const maxTextBytes = 8 << 10

func readText(body io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(body, maxTextBytes)) // part of it will do
	return string(b)
}

// describe returns what the body of a refusal says, for people: the errors of the distribution
// specification ("Error Codes") or those of a token server, else its text if it is short.
func describe(body string) string {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Details string `json:"details"`
		Message string `json:"message"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil {
		if strings.HasPrefix(strings.TrimSpace(body), "<") {
			return "" // a page
		}
		return printable(body)
	}
	var parts []string
	for _, e := range answer.Errors {
		parts = append(parts, strings.Trim(e.Code+": "+e.Message, ": "))
	}
	if len(parts) == 0 {
		parts = append(parts, cmp.Or(answer.Details, answer.Message))
	}
	return printable(strings.Join(parts, "; "))
}

// printable returns s on one line, short, without control characters and without the query of any
// URL in it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	words := strings.Fields(s)
	for i, w := range words {
		if url, _, ok := strings.Cut(w, "?"); ok && strings.Contains(url, "://") {
			words[i] = url + "?…"
		}
	}
	runes := []rune(strings.Join(words, " "))
	const most = 200
	if len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return string(runes)
}
