package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// endpoint is a place where a registry is asked: the registry itself or a mirror of it.
type endpoint struct {
	host   string // as dialed, with its port where it is not the usual one
	prefix string // put before the repository's name, ending in "/"; or ""
	plain  bool   // written with "http://"
}

// place is a repository at an endpoint.
type place struct {
	endpoint
	name string // of the repository there, prefix included
}

// repository returns the place's name as keychains know it.
func (p place) repository() string { return canonicalHost(p.host) + "/" + p.name }

// places returns where to ask for a repository, in order: its mirrors, then the registry itself.
func (c *Client) places(r Repository) []place {
	mirrors := c.mirrors[r.Host]
	places := make([]place, 0, len(mirrors)+1)
	for _, m := range mirrors {
		places = append(places, place{m, m.prefix + r.Name})
	}
	host := r.Host
	if host == dockerHub {
		host = "registry-1.docker.io"
	}
	return append(places, place{endpoint{host: host}, r.Name})
}

// parseMirror reads "[http://|https://]HOST[:PORT][/PREFIX]".
func parseMirror(s string) (endpoint, error) {
	rest, plain := strings.CutPrefix(s, "http://")
	if !plain {
		rest = strings.TrimPrefix(s, "https://")
	}
	host, prefix, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if !isHost(host) {
		return endpoint{}, fmt.Errorf("%q: want [http://]HOST[:PORT][/PREFIX]", s)
	}
	if prefix != "" {
		if _, err := ParseRepository("x.example/" + prefix); err != nil {
			return endpoint{}, fmt.Errorf("%q: prefix: %w", s, errors.Unwrap(err))
		}
		prefix += "/"
	}
	return endpoint{host: strings.ToLower(host), prefix: prefix, plain: plain}, nil
}

// isHost reports whether s is HOST or HOST:PORT and nothing else.
func isHost(s string) bool {
	u, err := url.Parse("//" + s)
	return err == nil && s != "" && u.Host == s && u.Hostname() != ""
}

// IsLoopback reports whether a host, with or without port, is this machine by its name.
func IsLoopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761, section 6.3
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}
