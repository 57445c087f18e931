package local

import (
	"context"
	"net"
	"sync"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// gossipRelay passes on what other members send to one: datagrams, and the streams of a relay at the same address. Answers
// to datagrams go to where their receiver is reached, not back. Datagrams that come while it is cut are lost.
type gossipRelay struct {
	*relay  // of streams
	from    net.PacketConn
	passing sync.WaitGroup
}

// newGossipRelay begins to relay what is sent to an address.
func newGossipRelay(ctx context.Context, address, target string) (*gossipRelay, error) {
	to, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return nil, fault.New(fault.Invalid, "relay to", target, err)
	}
	streams, err := newRelay(ctx, address, target, Path{})
	if err != nil {
		return nil, err
	}
	from, err := new(net.ListenConfig).ListenPacket(ctx, "udp", streams.address())
	if err != nil {
		streams.close()
		return nil, fault.New(fault.Unavailable, "listen on", address, err)
	}
	g := &gossipRelay{relay: streams, from: from}
	g.passing.Go(func() { g.pass(to) })
	return g, nil
}

// largestDatagram is what a datagram can hold (RFC 768).
const largestDatagram = 1 << 16

func (g *gossipRelay) pass(to net.Addr) {
	buffer := make([]byte, largestDatagram)
	for {
		n, _, err := g.from.ReadFrom(buffer)
		if n > 0 && g.passes() {
			_, _ = g.from.WriteTo(buffer[:n], to) // datagrams may be lost
		}
		if err != nil {
			return
		}
	}
}

func (g *gossipRelay) close() {
	_ = g.from.Close()
	g.passing.Wait()
	g.relay.close()
}
