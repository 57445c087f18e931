package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// question is one request to a registry as it is put at one place.
type question struct {
	repository Repository // as the caller knows it
	at         place
	kind       Kind
	method     string
	path       string // below the repository: "manifests/latest"
	header     http.Header
}

// reply is the answer to a question, and who gave it to whom.
type reply struct {
	*http.Response
	host       string // that answered
	redirected bool   // to another host than the registry
	auth       authorization
}

// ask puts a question and answers what the registry asks back. Any status may come of it; the
// caller closes the body.
func (c *Client) ask(ctx context.Context, q question) (*reply, error) {
	auth, err := c.authorize(ctx, q)
	if err != nil {
		return nil, err
	}
	r, err := c.send(ctx, q, auth)
	if fault.KindOf(err) == fault.RateLimited && auth == (authorization{}) {
		// A registry that was not asked before is asked as nobody, who has no budget left there: be who will be asked for.
		if auth.account = c.cfg.Keychain.Find(ctx, q.at.repository()).Account(); auth.account != "" {
			r, err = c.send(ctx, q, auth)
		}
	}
	if err != nil || r.StatusCode != http.StatusUnauthorized || r.redirected {
		return r, err
	}
	refused := r.refusal(q.repository.Host)
	drain(r.Body)
	auth, err = c.answer(ctx, q, parseChallenges(r.Header.Values("Www-Authenticate")), auth)
	if err != nil {
		return nil, err
	}
	if auth.header == "" {
		refused.as = auth.as
		return nil, statusError(refused)
	}
	return c.send(ctx, q, auth)
}

// send makes the request, and again without TLS where that turns out to be right.
func (c *Client) send(ctx context.Context, q question, auth authorization) (*reply, error) {
	scheme, known := c.schemeOf(q.at.endpoint)
	r, err := c.follow(ctx, q, scheme, auth)
	if known {
		return r, err
	}
	if err != nil && speaksPlain(q.at.host, err) && auth.header == "" {
		scheme = "http"
		r, err = c.follow(ctx, q, scheme, auth)
	}
	if err == nil {
		c.learnScheme(q.at.endpoint, scheme)
	}
	return r, err
}

// speaksPlain reports whether the trouble with a loopback host is that it does not speak TLS, or
// that it does so at no port while none was given.
func speaksPlain(host string, err error) bool {
	u := url.URL{Host: host}
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	return closed || isPlainAnswer(err) || u.Port() == "" && errors.Is(err, syscall.ECONNREFUSED)
}

// isPlainAnswer reports whether the TLS handshake failed because the answer was none of TLS: HTTP, or a bare page.
func isPlainAnswer(err error) bool {
	var e tls.RecordHeaderError
	return errors.As(err, &e)
}

// maxRedirects is how many redirects are followed. Registries send to a store of blobs, and at most
// on to another.
const maxRedirects = 5

// follow makes the request and follows redirects. The authorization goes to the registry itself
// only, and nothing but the range that is wanted goes to anybody else.
func (c *Client) follow(ctx context.Context, q question, scheme string, auth authorization) (*reply, error) {
	about := Request{Host: q.at.host, Repository: q.repository, Kind: q.kind, Method: q.method, Account: auth.account}
	ctx, release, err := c.acquire(ctx, about)
	if err != nil {
		return nil, err
	}
	origin := &url.URL{Scheme: scheme, Host: q.at.host, Path: "/v2/" + q.at.name + "/" + q.path}
	u := origin
	for hop := 0; ; hop++ {
		home := u.Scheme == origin.Scheme && strings.EqualFold(u.Host, origin.Host)
		resp, err := c.roundTrip(ctx, c.request(q, u, home, auth)) //nolint:bodyclose // drained below, or by who gets the reply
		if err != nil {
			release()
			return nil, err
		}
		if home {
			c.observe(about, resp)
		}
		next, err := redirect(u, resp)
		if err == nil && next != nil && hop == maxRedirects {
			err = errors.New("redirected too often")
		}
		if err != nil {
			drain(resp.Body)
			release()
			return nil, fault.New(fault.Unavailable, u.Host, "", err)
		}
		if next == nil {
			resp.Body = &releasingBody{ReadCloser: resp.Body, release: release}
			return &reply{Response: resp, host: u.Host, redirected: !home, auth: auth}, nil
		}
		drain(resp.Body)
		u = next
	}
}

func (c *Client) request(q question, u *url.URL, home bool, auth authorization) *http.Request {
	req := &http.Request{Method: q.method, URL: u, Host: u.Host, Header: http.Header{}}
	for name, values := range q.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if home && auth.header != "" {
		req.Header.Set("Authorization", auth.header)
	}
	return req
}

// redirect returns where a response sends, or nil where it does not. Errors do not hold the address:
// it may be signed.
func redirect(from *url.URL, resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host == "" || resp.Header.Get("Location") == "" {
		return nil, errors.New("it redirects to an address that cannot be read")
	}
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme != "http") {
		return nil, fmt.Errorf("it redirects to %s on host %s", to.Scheme, to.Host)
	}
	to.User, to.Fragment = nil, ""
	return to, nil
}

func (c *Client) acquire(ctx context.Context, about Request) (held context.Context, release func(), err error) {
	if c.cfg.Acquire == nil {
		return ctx, func() {}, nil
	}
	held, release, err = c.cfg.Acquire(ctx, about)
	if err != nil {
		return nil, nil, err
	}
	return held, sync.OnceFunc(release), nil
}

func (c *Client) observe(about Request, resp *http.Response) {
	if c.cfg.Observe != nil {
		c.cfg.Observe(observed(about, resp, time.Now()))
	}
}

// releasingBody gives the permission for a request back when its answer has been read or is closed.
type releasingBody struct {
	io.ReadCloser
	release func()
}

func (b *releasingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.release()
	}
	return n, err
}

func (b *releasingBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// drain closes a body, and reads what little there may be left so that the connection can be used again.
func drain(body io.ReadCloser) {
	io.CopyN(io.Discard, body, 16<<10) //nolint:errcheck // the connection is then not used again
	_ = body.Close()
}
