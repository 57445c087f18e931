package clustertest

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
)

// Cable is a way to a server that can be cut and mended. Safe for concurrent use.
type Cable struct {
	network, target string
	listener        net.Listener

	mu   sync.Mutex
	cut  bool
	ends map[net.Conn]bool
}

// NewCable lays a cable to a server. It lies until the test ends.
func NewCable(tb testing.TB, network, target string) *Cable {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cable{network: network, target: target, listener: l, ends: make(map[net.Conn]bool)}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { c.pass(from) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		c.Cut()
		passing.Wait()
	})
	return c
}

// Addr is where the cable begins: "host:port".
func (c *Cable) Addr() string { return c.listener.Addr().String() }

// Cut breaks all connections, and refuses new ones.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for end := range c.ends {
		_ = end.Close()
	}
	clear(c.ends)
}

// Mend lets connections through again.
func (c *Cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

// Dial connects to the server, wherever network and address say. It is for clients that take a dialer.
func (c *Cable) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, c.network, c.target)
	if err != nil {
		return nil, err
	}
	if !c.keep(conn) {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: c.network, Err: syscall.ECONNREFUSED}
	}
	return conn, nil
}

// keep remembers a connection, to break it. It reports false where the cable is cut.
func (c *Cable) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		c.ends[conn] = true
	}
	return !c.cut
}

func (c *Cable) forget(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ends, conn)
}

// pass passes on what goes over one connection until one end of it is closed.
func (c *Cable) pass(from net.Conn) {
	defer from.Close()
	if !c.keep(from) {
		return
	}
	defer c.forget(from)
	to, err := c.Dial(context.Background(), "", "")
	if err != nil {
		return
	}
	defer c.forget(to)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to) // whatever ends it ends the connection
		_ = from.Close()
	})
	_, _ = io.Copy(to, from)
	_ = to.Close()
	back.Wait()
}
