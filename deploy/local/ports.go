package local

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Ports are taken from below those that systems give to outgoing connections, so that a member that was stopped finds
// its own free when it starts again.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 1000
)

// ports gives out addresses on the loopback interface. It is safe for concurrent use.
type ports struct {
	mu   sync.Mutex
	next int
}

// take returns an address whose port is free for TCP and UDP, and that was not returned before.
func (p *ports) take() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == 0 { // clusters beside this one begin elsewhere
		p.next = firstPort + rand.IntN(lastPort-firstPort)
	}
	for range portTries {
		if p.next++; p.next >= lastPort {
			p.next = firstPort
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.next))
		if isFree(address) {
			return address, nil
		}
	}
	return "", fault.Newf(fault.Unavailable, "find", "a free port", "%d below %d are taken", portTries, lastPort)
}

func isFree(address string) bool {
	tcp, err := net.Listen("tcp", address) //nolint:noctx // it returns at once
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address) //nolint:noctx // it returns at once
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}
