// Package registry speaks to image registries as the OCI distribution specification v1.1 has it:
// it fetches manifests, asks what a tag points at, and streams blobs that survive broken transfers.
//
// It knows hosts, mirrors, credentials, tokens, request budgets and networks; it knows nothing of
// what is in a manifest or a blob, and verifies no digest. Whoever asked by digest does that.
//
// # Network policy
//
// Names of registries, realms of token servers and redirects come from strangers. Whatever they
// resolve to, link-local addresses (169.254.0.0/16, fe80::/10), the metadata services of cloud
// providers, unspecified, multicast and broadcast addresses are never dialed. Loopback and private
// addresses are, unless [Config] denies them. The check is made on the address that is about to be
// connected to, so that neither a name nor a second lookup can evade it.
//
// # Plain HTTP
//
// A host is spoken to with TLS unless [Config.PlainHTTP] lists it. A loopback host is tried with TLS
// first and then, when it turns out not to speak it, without, as Docker does.
//
// # Credentials
//
// A credential goes to the registry it is for, and to the token server which that registry names;
// an access token goes to the registry only. Neither follows a redirect to another host. No error
// holds a credential, a token or the query of a URL.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Config says how registries are reached. Its zero value works.
type Config struct {
	// UserAgent is sent with every request. Default "trawl".
	UserAgent string

	// Keychain has the credentials. Default [DockerKeychain] of the directory "".
	Keychain Keychain

	// Mirrors lists, for a registry host as in [Repository.Host], where to ask before it: hosts with
	// an optional port and an optional path that is put before the name of the repository
	// ("harbor.example/proxy"), behind an optional "http://" or "https://". They are tried in order,
	// the registry itself last; whatever goes wrong at a mirror, the next is tried. A mirror may be
	// behind its registry in what a tag points at.
	Mirrors map[string][]string

	// PlainHTTP lists hosts that are spoken to without TLS, with their port where it is not 80.
	PlainHTTP []string

	// CAFiles are PEM files of certificate authorities trusted in addition to those of the system.
	CAFiles []string

	// Proxy returns the proxy for a request, or nil. Default [http.ProxyFromEnvironment]. What a
	// proxy resolves a name to is not seen here: the network policy then holds for addresses
	// written as numbers only.
	Proxy func(*http.Request) (*url.URL, error)

	// DenyLoopback refuses addresses of this machine (127.0.0.0/8, ::1).
	DenyLoopback bool
	// DenyPrivate refuses private addresses: RFC 1918, RFC 4193 and RFC 6598 (carriers' NAT).
	DenyPrivate bool

	// ConnectTimeout is the longest that a connection, and then its TLS handshake, may take. Default
	// 10 s.
	ConnectTimeout time.Duration
	// HeaderTimeout is the longest wait for the header of an answer. Default 30 s.
	HeaderTimeout time.Duration
	// IdleTimeout is the longest that a body may stand still while it is read. Default 30 s.
	IdleTimeout time.Duration

	// Retries is how often a request is made again, and a transfer taken up again, after trouble that
	// may pass. A transfer earns a retry back with every 8 MiB. Default 5; negative: never. A manifest that
	// did not come within one of the times above is not asked for again.
	Retries int
	// RetryDelay is the pause before the first retry; it doubles, up to 16 times this, give or take
	// a quarter. Default 500 ms.
	RetryDelay time.Duration

	// MaxManifestBytes is the most that is read of a manifest. Default 4 MiB, which is what
	// registries have to accept (distribution-spec v1.1, "Pushing Manifests").
	MaxManifestBytes int64

	// Acquire, if not nil, is called before every request to a registry or token server, and may block
	// until the request fits into a budget. Its error ends the call that caused the request. The request is made under
	// the context that it returns, which comes of the one that it is given: where that ends, so does the request, with its
	// cause. The function that it returns is called once, when the answer has been read or closed.
	Acquire func(context.Context, Request) (held context.Context, release func(), err error)

	// Observe, if not nil, is called with every answer of a registry or token server. It must not block.
	Observe func(Response)
}

// Client asks registries. It is safe for concurrent use. Tokens are kept until they expire, for
// each registry and repository.
type Client struct {
	cfg       Config
	transport *http.Transport
	mirrors   map[string][]endpoint
	plain     map[string]bool
	hosts     *hosts
}

// New returns a Client. It connects to nothing; an error says what is wrong with the configuration,
// and has kind [fault.Invalid].
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	c := &Client{cfg: cfg, mirrors: map[string][]endpoint{}, plain: map[string]bool{}, hosts: newHosts()}
	for _, host := range cfg.PlainHTTP {
		if !isHost(host) {
			return nil, fault.Newf(fault.Invalid, "configure", "plain HTTP", "%q: want HOST or HOST:PORT", host)
		}
		c.plain[strings.ToLower(host)] = true
	}
	for host, mirrors := range cfg.Mirrors {
		for _, m := range mirrors {
			at, err := parseMirror(m)
			if err != nil {
				return nil, fault.New(fault.Invalid, "configure", "mirror of "+host, err)
			}
			key := canonicalHost(host)
			c.mirrors[key] = append(c.mirrors[key], at)
		}
	}
	roots, err := certPool(cfg.CAFiles)
	if err != nil {
		return nil, err
	}
	c.transport = newTransport(cfg, roots)
	return c, nil
}

// Close closes connections that are idle. The Client can still be used.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func (c Config) withDefaults() Config {
	if c.UserAgent == "" {
		c.UserAgent = "trawl"
	}
	if c.Keychain == nil {
		c.Keychain = DockerKeychain("")
	}
	if c.Proxy == nil {
		c.Proxy = http.ProxyFromEnvironment
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&c.ConnectTimeout, 10 * time.Second},
		{&c.HeaderTimeout, 30 * time.Second},
		{&c.IdleTimeout, 30 * time.Second},
		{&c.RetryDelay, 500 * time.Millisecond},
	} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	switch {
	case c.Retries == 0:
		c.Retries = 5
	case c.Retries < 0:
		c.Retries = 0
	}
	if c.MaxManifestBytes <= 0 {
		c.MaxManifestBytes = 4 << 20
	}
	return c
}

// certPool returns the authorities of the system and those of the files, or nil where there are no
// files.
func certPool(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.New(fault.Invalid, "configure", "certificate authority", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "configure", "certificate authority "+file, errors.New("no certificate in PEM form"))
		}
	}
	return pool, nil
}

func newTransport(cfg Config, roots *x509.CertPool) *http.Transport {
	d := newDialer(cfg)
	return &http.Transport{
		Proxy:                 d.proxy,
		DialContext:           d.dial,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   cfg.ConnectTimeout,
		ResponseHeaderTimeout: cfg.HeaderTimeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          256,
		MaxIdleConnsPerHost:   32,
		ForceAttemptHTTP2:     true,
		// A blob is the bytes that its digest is of: nothing between may unpack them.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 256 << 10,
	}
}
