package registry

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// memoryNet is a network inside a test, so that a synctest bubble can own all of it. Hosts are
// reached by their name, without TLS.
type memoryNet struct {
	mu    sync.Mutex
	hosts map[string]chan net.Conn
}

func newMemoryNet() *memoryNet { return &memoryNet{hosts: map[string]chan net.Conn{}} }

// serve runs a server for a host until the test ends.
func (m *memoryNet) serve(t *testing.T, host string, h http.Handler) {
	t.Helper()
	l := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	m.mu.Lock()
	m.hosts[host] = l.conns
	m.mu.Unlock()
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l) // until Close
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
}

func (m *memoryNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	m.mu.Lock()
	conns := m.hosts[strings.TrimSuffix(address, ":80")]
	m.mu.Unlock()
	if conns == nil {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	client, server := net.Pipe()
	select {
	case conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

// client returns a Client on the network for which all hosts speak plain HTTP.
func (m *memoryNet) client(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.Keychain == nil {
		cfg.Keychain = Anonymous{}
	}
	m.mu.Lock()
	for host := range m.hosts {
		cfg.PlainHTTP = append(cfg.PlainHTTP, host)
	}
	m.mu.Unlock()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.transport.DialContext = m.dial
	c.transport.Proxy = nil
	t.Cleanup(c.Close)
	return c
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Fatalf("got kind %v of error %v, want %v", got, err, want)
	}
}

// wantText checks that an error says all of what it should, and nothing that nobody may see.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error %q holds the secret %q", err, secret)
		}
	}
}

// secrets are used in tests for what must not leak.
var secrets = []string{"hunter2", "t0ken", "s1gnature", "1dentity"}
