package local

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Path is what lies between the roles and a server that is not on this machine. The zero value slows nothing down.
type Path struct {
	// RoundTrip is how long a question and its answer are under way. A new connection costs it once more.
	RoundTrip time.Duration
	// BytesPerSecond is what one connection carries each way. 0 means as much as it can.
	BytesPerSecond int64
}

// relay passes on what goes between a member and a server, over a [Path], until it is cut. Then nothing comes through
// either way, and neither side is told, as when a cable is pulled. What was under way comes through when it is mended.
type relay struct {
	listener net.Listener
	target   string
	path     Path

	mu   sync.Mutex
	open chan struct{} // closed while things pass
	ends map[net.Conn]bool
	over chan struct{} // closed by close
	busy sync.WaitGroup
}

// newRelay begins to relay connections that are made to an address. The target is host:port, or the file of a socket.
func newRelay(ctx context.Context, address, target string, path Path) (*relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "listen on", address, err)
	}
	r := &relay{listener: listener, target: target, path: path, open: make(chan struct{}), ends: make(map[net.Conn]bool), over: make(chan struct{})}
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
	r.wait(r.path.RoundTrip) // a handshake
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

// parcel is what was read at once, and when it is at the other end.
type parcel struct {
	bytes []byte
	due   time.Time
}

// A parcel is small, so that a slow path is even; so many may be under way, which is more than a round trip's worth.
const (
	parcelBytes = 8 << 10
	underWay    = 64
)

// pass passes on what comes from one side, and closes both when it ends.
func (r *relay) pass(to, from net.Conn) {
	defer from.Close()
	defer to.Close()
	parcels := make(chan parcel, underWay)
	r.busy.Go(func() { r.read(from, parcels) })
	ok := true
	for p := range parcels {
		r.wait(time.Until(p.due))
		<-r.passage()
		if !ok {
			continue
		}
		if _, err := to.Write(p.bytes); err != nil {
			ok = false
			_ = from.Close() // so that there is an end
		}
	}
}

// read puts what comes on its way, no faster than the path takes it.
func (r *relay) read(from net.Conn, parcels chan<- parcel) {
	defer close(parcels)
	buffer := make([]byte, parcelBytes)
	for {
		n, err := from.Read(buffer)
		if n > 0 && r.path.BytesPerSecond > 0 {
			r.wait(time.Duration(n) * time.Second / time.Duration(r.path.BytesPerSecond))
		}
		if n > 0 {
			parcels <- parcel{bytes.Clone(buffer[:n]), time.Now().Add(r.path.RoundTrip / 2)}
		}
		if err != nil {
			return
		}
	}
}

// wait waits for so long, or until the relay ends.
func (r *relay) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-r.over:
	}
}

// passage returns a channel that is closed when things pass.
func (r *relay) passage() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// passes reports whether things pass.
func (r *relay) passes() bool {
	select {
	case <-r.passage():
		return true
	default:
		return false
	}
}

// keep remembers a connection, to end it with the relay.
func (r *relay) keep(end net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.over:
		_ = end.Close()
		return false
	default:
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

// close ends all connections. Closing twice is no error.
func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	select {
	case <-r.over:
	default:
		close(r.over)
	}
	for end := range r.ends {
		_ = end.Close()
	}
	r.mu.Unlock()
	r.mend()
	r.busy.Wait()
}
