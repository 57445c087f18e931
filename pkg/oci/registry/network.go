package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// policy says which addresses are not connected to.
type policy struct{ denyLoopback, denyPrivate bool }

// metadata are the addresses at which cloud providers hand out credentials and that are not
// link-local. Nothing else has any business there.
var metadata = map[netip.Addr]string{
	netip.MustParseAddr("fd00:ec2::254"):   "the metadata service of AWS",
	netip.MustParseAddr("100.100.100.200"): "the metadata service of Alibaba Cloud",
	netip.MustParseAddr("192.0.0.192"):     "the metadata service of Oracle Cloud",
	netip.MustParseAddr("168.63.129.16"):   "the platform address of Azure",
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122, section 3.2.1.3
	carrierNAT  = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	nat64       = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052: an IPv4 address in the last four bytes
	sixToFour   = netip.MustParsePrefix("2002::/16")     // RFC 3056: an IPv4 address in bytes 2 to 5
	compatible  = netip.MustParsePrefix("::/96")         // RFC 4291, section 2.5.5.1: deprecated, as nat64
	broadcast   = netip.MustParseAddr("255.255.255.255")
)

// refuse returns why an address is not connected to, or "".
func (p policy) refuse(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if why, ok := metadata[ip]; ok {
		return why
	}
	switch {
	case ip.IsUnspecified(), thisNetwork.Contains(ip):
		return "an unspecified address"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsMulticast(), ip == broadcast:
		return "a multicast or broadcast address"
	case p.denyLoopback && ip.IsLoopback():
		return "a loopback address"
	case p.denyPrivate && (ip.IsPrivate() || carrierNAT.Contains(ip)):
		return "a private address"
	case ip.IsLoopback():
		return ""
	}
	if inner, ok := embedded(ip); ok {
		return p.refuse(inner)
	}
	return ""
}

// embedded returns the IPv4 address that a translator would make of an IPv6 address.
func embedded(ip netip.Addr) (netip.Addr, bool) {
	if !ip.Is6() {
		return netip.Addr{}, false
	}
	b := ip.As16()
	switch {
	case nat64.Contains(ip), compatible.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// refuseHost is refuse for a host that is written as a number, which a proxy would be given as it is.
func (p policy) refuseHost(host string) string {
	ip, err := netip.ParseAddr(host)
	if err == nil {
		return p.refuse(ip)
	}
	// "2852039166" and "0xa9.254.0xa9fe" are addresses to many a resolver.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last != "" && last[0] >= '0' && last[0] <= '9' {
		return "an address in an unusual notation"
	}
	return ""
}

// refusedError says that the network policy forbids an address.
type refusedError struct{ address, why string }

func (e *refusedError) Error() string { return fmt.Sprintf("refused: %s is %s", e.address, e.why) }

// dialer connects within the policy.
type dialer struct {
	policy
	proxyFor func(*http.Request) (*url.URL, error)
	proxies  sync.Map // "host:port" of each proxy in use; the operator chose them
	timeout  time.Duration
}

func newDialer(cfg Config) *dialer {
	return &dialer{
		policy:   policy{cfg.DenyLoopback, cfg.DenyPrivate},
		proxyFor: cfg.Proxy,
		timeout:  cfg.ConnectTimeout,
	}
}

// proxy chooses the proxy of a request. What goes through one is checked here, as far as it can be.
func (d *dialer) proxy(req *http.Request) (*url.URL, error) {
	u, err := d.proxyFor(req)
	if err != nil || u == nil {
		return u, err
	}
	host := req.URL.Hostname()
	if why := d.refuseHost(host); why != "" {
		return nil, &refusedError{host, why}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	d.proxies.Store(net.JoinHostPort(u.Hostname(), port), true)
	return u, nil
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := net.Dialer{Timeout: d.timeout, KeepAlive: 30 * time.Second}
	if _, ok := d.proxies.Load(address); !ok {
		dial.Control = d.control
	}
	return dial.DialContext(ctx, network, address)
}

// control is called between the lookup of a name and the connection, for each address that it has.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusedError{address, "no address"}
	}
	if why := d.refuse(at.Addr()); why != "" {
		return &refusedError{at.Addr().String(), why}
	}
	return nil
}
