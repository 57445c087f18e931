package registry

import (
	"context"
	"strings"
	"sync"
	"time"
)

// hosts remembers what was learned of each host: how to speak to it and who is let in.
type hosts struct {
	mu     sync.Mutex
	byName map[string]*host
}

// maxHosts bounds the memory, for the names of hosts come from strangers.
const maxHosts = 1024

func newHosts() *hosts { return &hosts{byName: map[string]*host{}} }

func (h *hosts) get(name string) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.byName[name]; known != nil {
		return known
	}
	for victim := range h.byName {
		if len(h.byName) < maxHosts {
			break
		}
		delete(h.byName, victim)
	}
	fresh := &host{tokens: map[string]*tokenSlot{}}
	h.byName[name] = fresh
	return fresh
}

// host is what is known of one host.
type host struct {
	mu     sync.Mutex
	scheme string     // "http" or "https" once it is known
	asks   *challenge // the last challenge of a kind that can be answered before it is made again
	tokens map[string]*tokenSlot
}

// tokenSlot is the authorization for one repository. Its semaphore makes that many who want the
// same one at the same time ask for it once.
type tokenSlot struct {
	turn    chan struct{} // holds one item while nobody is at it
	auth    authorization
	expires time.Time
}

// maxTokens is how many repositories of a host have their authorization kept.
const maxTokens = 4096

func (h *host) slot(repository string, now time.Time) *tokenSlot {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.tokens[repository]; s != nil {
		return s
	}
	if len(h.tokens) >= maxTokens {
		h.evict(now)
	}
	s := &tokenSlot{turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	h.tokens[repository] = s
	return s
}

// evict forgets the tokens that are no longer valid and, where that is not enough, any.
func (h *host) evict(now time.Time) {
	for name, s := range h.tokens {
		select {
		case <-s.turn:
			if now.After(s.expires) {
				delete(h.tokens, name)
			}
			s.turn <- struct{}{}
		default: // somebody is at it
		}
	}
	for name := range h.tokens {
		if len(h.tokens) < maxTokens/2 {
			return
		}
		delete(h.tokens, name)
	}
}

// lock waits for the slot's turn.
func (s *tokenSlot) lock(ctx context.Context) error {
	select {
	case <-s.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *tokenSlot) unlock() { s.turn <- struct{}{} }

// usual returns the challenge that the host is expected to make for a repository of that name, or
// nil. It spares a request for each repository of a registry that was asked before.
func (h *host) usual(name string) *challenge {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asks == nil {
		return nil
	}
	c := &challenge{scheme: h.asks.scheme, params: map[string]string{
		"realm":   h.asks.params["realm"],
		"service": h.asks.params["service"],
	}}
	if c.scheme == "bearer" {
		c.params["scope"] = pullScope(name)
	}
	return c
}

// learn remembers a challenge if it can be foretold for other repositories: those of the usual scope.
func (h *host) learn(name string, c challenge) {
	if c.scheme == "bearer" && c.params["scope"] != pullScope(name) {
		return
	}
	h.mu.Lock()
	h.asks = &c
	h.mu.Unlock()
}

// pullScope is the scope that reads a repository (distribution, "Token Scope Documentation").
func pullScope(name string) string { return "repository:" + name + ":pull" }

// schemeOf returns how to speak to an endpoint, and whether that is known rather than tried.
func (c *Client) schemeOf(at endpoint) (scheme string, known bool) {
	if at.plain || c.plain[strings.ToLower(at.host)] {
		return "http", true
	}
	if !IsLoopback(at.host) {
		return "https", true
	}
	h := c.hosts.get(at.host)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.scheme != "" {
		return h.scheme, true
	}
	return "https", false
}

func (c *Client) learnScheme(at endpoint, scheme string) {
	h := c.hosts.get(at.host)
	h.mu.Lock()
	h.scheme = scheme
	h.mu.Unlock()
}
