package local

import (
	"slices"
	"time"
)

// Address says of one member where it is, and how it is doing.
type Address struct {
	Name string
	Role string // or the server that it is
	// Address is what it serves: "127.0.0.1:port". "" for roles that serve nobody, and for PostgreSQL, which is on a
	// socket: see [Servers].
	Address string
	// Introspection is where a role tells its health, metrics and profiles; "" for servers.
	Introspection string
	// Gossip is where a role hears from the others; "" for servers.
	Gossip string
	Log    string // file
	PID    int    // of its first process; 0 while it does not run
	State  State
	// Took is how long the last start took until it first answered; 0 where that was not waited for yet.
	Took time.Duration
}

// servers is the order in which servers are listed; they start in any.
var servers = []string{Postgres, Etcd, Kafka, Registry}

// Addresses lists the members: the servers, then the roles as they were added.
func (c *Cluster) Addresses() []Address {
	members := c.all()
	slices.SortStableFunc(members, func(a, b *member) int { return place(a) - place(b) })
	out := make([]Address, len(members))
	for i, m := range members {
		out[i] = Address{
			Name: m.name, Role: m.role, Address: m.address, Introspection: m.introspection, Gossip: m.gossip, Log: m.log,
		}
		if pids := m.part.pids(); len(pids) > 0 {
			out[i].PID = pids[0]
		}
		m.mu.Lock()
		out[i].State, out[i].Took = m.state, m.took
		m.mu.Unlock()
	}
	return out
}

// place is where a member stands among all.
func place(m *member) int {
	if i := slices.Index(servers, m.role); i >= 0 {
		return i
	}
	return len(servers)
}

// Servers are where what the roles stand on is, for connections of one's own.
type Servers struct {
	Postgres string // DSN
	Etcd     string // host:port
	Kafka    string // host:port
	Registry string // host:port, without TLS
}

// Servers returns where the servers are.
func (c *Cluster) Servers() Servers {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Servers{Postgres: c.dsn, Etcd: c.etcd, Kafka: c.kafka, Registry: c.registry}
}

// Dir is the directory of the cluster, absolute.
func (c *Cluster) Dir() string { return c.config.Dir }
