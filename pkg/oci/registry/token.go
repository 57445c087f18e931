package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// authorization is what is sent to a registry so that it answers. The zero value is nothing.
type authorization struct {
	header  string // the value of the Authorization header
	as      string // whose it is, for errors: "anonymous (…)" or "user x (…)"
	account string // see [Request]
}

// authorize returns the authorization for a question: one that is kept, else one that the registry
// is known to want, else none.
func (c *Client) authorize(ctx context.Context, q question) (authorization, error) {
	h := c.hosts.get(q.at.host)
	slot := h.slot(q.at.name, time.Now())
	if err := slot.lock(ctx); err != nil {
		return authorization{}, err
	}
	defer slot.unlock()
	if time.Now().Before(slot.expires) {
		return slot.auth, nil
	}
	usual := h.usual(q.at.name)
	if usual == nil {
		return authorization{}, nil
	}
	return c.renew(ctx, q, slot, *usual)
}

// answer returns the authorization that answers challenges made to a question that was asked with
// refused. Its header is "" where there is nothing to answer.
func (c *Client) answer(ctx context.Context, q question, challenges []challenge, refused authorization) (authorization, error) {
	h := c.hosts.get(q.at.host)
	slot := h.slot(q.at.name, time.Now())
	if err := slot.lock(ctx); err != nil {
		return authorization{}, err
	}
	defer slot.unlock()
	if slot.auth.header != refused.header && time.Now().Before(slot.expires) {
		return slot.auth, nil // somebody else was faster
	}
	slot.expires = time.Time{}
	chosen, err := choose(challenges)
	if err != nil {
		return authorization{}, fault.New(fault.Unauthorized, q.at.host, "", err)
	}
	if chosen.scheme == "bearer" && chosen.params["scope"] == "" {
		chosen.params["scope"] = pullScope(q.at.name)
	}
	auth, err := c.renew(ctx, q, slot, chosen)
	if err == nil {
		h.learn(q.at.name, chosen)
	}
	return auth, err
}

// choose returns the challenge to answer: for a token if that is offered, else for a password.
func choose(challenges []challenge) (challenge, error) {
	var offered []string
	for _, want := range []string{"bearer", "basic"} {
		for _, c := range challenges {
			if c.scheme == want && (want == "basic" || c.params["realm"] != "") {
				return c, nil
			}
		}
	}
	for _, c := range challenges {
		offered = append(offered, fmt.Sprintf("%.20q", c.scheme))
	}
	if len(offered) == 0 {
		return challenge{}, errors.New("it asks for a login and does not say which")
	}
	return challenge{}, fmt.Errorf("it offers no login that is known here: %s", strings.Join(offered, ", "))
}

// renew fills the slot, whose turn the caller has.
func (c *Client) renew(ctx context.Context, q question, slot *tokenSlot, ch challenge) (authorization, error) {
	cred := c.cfg.Keychain.Find(ctx, q.at.repository())
	auth := authorization{as: cred.who(), account: cred.Account()}
	life := basicLife
	switch {
	case cred.RegistryToken != "":
		auth.header = "Bearer " + cred.RegistryToken
	case ch.scheme == "basic" && cred.Username+cred.Password != "":
		auth.header = basic(cred.Username, cred.Password)
	case ch.scheme == "basic": // there is nothing to say; the refusal says whose it is
		life = 0
	default:
		token, err := c.fetchToken(ctx, q, ch, cred)
		if err != nil {
			return authorization{}, err
		}
		auth.header, life = "Bearer "+token.value, token.life
	}
	slot.auth, slot.expires = auth, time.Now().Add(life)
	return auth, nil
}

// basicLife is how long a credential is used before the keychain is asked again.
const basicLife = 5 * time.Minute

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// accessToken is an access token and how long to use it.
type accessToken struct {
	value string
	life  time.Duration
}

// fetchToken asks the token server that a challenge names (distribution, "Token Authentication
// Specification" and, for identity tokens, "OAuth2 Token Authentication").
func (c *Client) fetchToken(ctx context.Context, q question, ch challenge, cred Credential) (accessToken, error) {
	realm, err := c.realm(q, ch.params["realm"])
	if err != nil {
		return accessToken{}, fault.New(fault.Unauthorized, q.at.host, "", err)
	}
	req, err := tokenRequest(ctx, realm, ch, cred)
	if err != nil {
		return accessToken{}, fault.New(fault.Unauthorized, q.at.host, "", err)
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	about := Request{Host: req.URL.Host, Repository: q.repository, Kind: KindToken, Method: req.Method, Account: cred.Account()}
	ctx, release, err := c.acquire(ctx, about)
	if err != nil {
		return accessToken{}, err
	}
	defer release()
	resp, err := c.roundTrip(ctx, req)
	if err != nil {
		return accessToken{}, err
	}
	defer resp.Body.Close()
	c.observe(about, resp)
	if resp.StatusCode != http.StatusOK {
		return accessToken{}, statusError(refusal{
			host: req.URL.Host, registry: canonicalHost(q.at.host), status: resp.StatusCode, header: resp.Header,
			text: readText(resp.Body), as: cred.who(), token: true,
		})
	}
	return parseToken(req.URL.Host, resp.Body)
}

// realm checks the address of a token server. A registry that is spoken to in secret does not get
// to have credentials sent in the open.
func (c *Client) realm(q question, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return nil, errors.New("it names a token server whose address cannot be read")
	}
	scheme, _ := c.schemeOf(q.at.endpoint)
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && (scheme == "http" || c.plain[strings.ToLower(u.Host)]):
	default:
		return nil, fmt.Errorf("it names a token server without TLS, %s://%s", u.Scheme, u.Host)
	}
	u.Fragment = ""
	return u, nil
}

// clientID is told to token servers that want to know the program.
const clientID = "trawl"

func tokenRequest(ctx context.Context, realm *url.URL, ch challenge, cred Credential) (*http.Request, error) {
	params := url.Values{}
	if service := ch.params["service"]; service != "" {
		params.Set("service", service)
	}
	if cred.IdentityToken != "" {
		params.Set("grant_type", "refresh_token")
		params.Set("client_id", clientID)
		params.Set("refresh_token", cred.IdentityToken)
		params.Set("scope", ch.params["scope"])
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(params.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	for scope := range strings.FieldsSeq(ch.params["scope"]) {
		params.Add("scope", scope)
	}
	if cred.Username != "" {
		params.Set("account", cred.Username)
	}
	u := *realm
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += params.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err == nil && cred.Username+cred.Password != "" {
		req.Header.Set("Authorization", basic(cred.Username, cred.Password))
	}
	return req, err
}

// maxTokenBytes bounds the answer of a token server.
const maxTokenBytes = 1 << 20

// parseToken reads the answer of a token server.
func parseToken(host string, body io.Reader) (accessToken, error) {
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(body, maxTokenBytes)).Decode(&answer); err != nil {
		return accessToken{}, fault.New(fault.Unavailable, host, "", errors.New("the token server's answer cannot be read"))
	}
	t := accessToken{value: answer.Token, life: tokenLife(answer.ExpiresIn)}
	if t.value == "" {
		t.value = answer.AccessToken
	}
	if t.value == "" || strings.ContainsFunc(t.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return accessToken{}, fault.New(fault.Unavailable, host, "", errors.New("the token server's answer has no token"))
	}
	return t, nil
}

// tokenLife returns how long to use a token that expires in so many seconds. It ends a little early,
// for the token travels too. Where nothing is told it is 60 seconds, as the specification has it.
func tokenLife(expiresIn float64) time.Duration {
	if !(expiresIn >= 1) {
		expiresIn = 60
	}
	life := time.Duration(min(expiresIn, 24*3600) * float64(time.Second))
	return life - min(life/10, 10*time.Second)
}
