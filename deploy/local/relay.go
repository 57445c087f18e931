package local

import (
	"context"
	"net"
	"path/filepath"
	"sync"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// relay passes on what goes between a member and a server, until it is cut. Then nothing comes through either way, and
// neither side is told, as when a cable is pulled. What was under way comes through when it is mended.
type relay struct {
	listener net.Listener
	target   string

	mu   sync.Mutex
	open chan struct{} // closed while things pass
	ends map[net.Conn]bool
	over bool
	busy sync.WaitGroup
}

// newRelay begins to relay connections that are made to an address. The target is host:port, or the file of a socket.
func newRelay(ctx context.Context, address, target string) (*relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on", address, err)
	}
	r := &relay{listener: listener, target: target, open: make(chan struct{}), ends: make(map[net.Conn]bool)}
	close(r.open)
	r.busy.Go(r.accept)
	return r, nil
}

// address is where the relay listens.
func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.busy.Go(func() { r.connect(from) })
	}
}

// connect passes on what goes over one connection, until one side ends it.
func (r *relay) connect(from net.Conn) {
	defer from.Close()
	if !r.keep(from) {
		return
	}
	defer r.forget(from)
	<-r.passage()
	network := "tcp"
	if filepath.IsAbs(r.target) {
		network = "unix"
	}
	to, err := net.Dial(network, r.target) //nolint:noctx // on this machine it succeeds or fails at once
	if err != nil || !r.keep(to) {
		return
	}
	defer r.forget(to)
	var back sync.WaitGroup
	back.Go(func() { r.pass(from, to) })
	r.pass(to, from)
	back.Wait()
}

// pass passes on what comes from one side, and closes both when it ends.
func (r *relay) pass(to, from net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		<-r.passage()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passage returns a channel that is closed when things pass.
func (r *relay) passage() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// keep remembers a connection, to end it with the relay.
func (r *relay) keep(end net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		_ = end.Close()
		return false
	}
	r.ends[end] = true
	return true
}

func (r *relay) forget(end net.Conn) {
	_ = end.Close() // it may be closed
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ends, end)
}

// cut lets nothing through any more.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.open:
		r.open = make(chan struct{})
	default: // it is cut
	}
}

// mend lets everything through.
func (r *relay) mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.open:
	default:
		close(r.open)
	}
}

// close ends all connections.
func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.over = true
	for end := range r.ends {
		_ = end.Close()
	}
	r.mu.Unlock()
	r.mend()
	r.busy.Wait()
}
