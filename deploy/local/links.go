package local

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// What [Cluster.Cut] cuts a role off from, besides the servers.
const (
	Gossip     = "gossip" // of the other members, which do not reach it
	Everything = "everything"
)

// way is what something takes to a server or member, and can be cut.
type way interface {
	address() string // where it begins
	cut()
	mend()
	close()
}

// links are the ways of a member, by where they lead to. Nil are those of one that reaches all by itself.
type links map[string]way

// add lays a way from a free address to a target, and returns that address.
func (l *links) add(ctx context.Context, free *ports, to, target string, path Path) (string, error) {
	address, err := free.take()
	if err != nil {
		return "", err
	}
	return address, l.lay(ctx, to, address, target, path)
}

// lay lays a way from an address to a target.
func (l *links) lay(ctx context.Context, to, address, target string, path Path) error {
	r, err := newRelay(ctx, address, target, path)
	if err != nil {
		return err
	}
	if *l == nil {
		*l = make(links)
	}
	(*l)[to] = r
	return nil
}

func (l links) cut(from string) error {
	if _, ok := l[from]; !ok && from != Everything || len(l) == 0 {
		return fault.Newf(fault.Invalid, "cut the way to", from, "there is no relay on it")
	}
	for to, one := range l {
		if from == to || from == Everything {
			one.cut()
		}
	}
	return nil
}

func (l links) mend() {
	for _, one := range l {
		one.mend()
	}
}

func (l links) close() {
	for _, one := range l {
		one.close()
	}
}

// linkRole lays the ways of a role, one of them to a listener of the broker, and returns the address at which others reach it.
func (c *Cluster) linkRole(ctx context.Context, m *member, own listener) (string, error) {
	socket, err := socketOf(c.dsn)
	if err != nil {
		return "", err
	}
	for to, target := range map[string]string{Etcd: c.etcd, Postgres: socket} {
		if _, err := m.links.add(ctx, &c.ports, to, target, Path{}); err != nil {
			return "", err
		}
	}
	if err := m.links.lay(ctx, Kafka, own.advertised, own.bound, Path{}); err != nil {
		return "", err
	}
	reached, err := c.ports.take()
	if err != nil {
		return "", err
	}
	gossip, err := newGossipRelay(ctx, reached, m.gossip)
	if err != nil {
		return "", err
	}
	m.links[Gossip] = gossip
	return reached, nil
}

// socketOf returns the file of the socket that PostgreSQL listens on.
func socketOf(dsn string) (string, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return "", fault.New(fault.Invalid, "read address of", Postgres, err)
	}
	return filepath.Join(config.Host, ".s.PGSQL."+strconv.Itoa(int(config.Port))), nil
}

// throughRelay returns the address of a database with that of a relay in place of its server's.
func throughRelay(dsn, relay string) (string, error) {
	database, err := url.Parse(dsn)
	if err != nil {
		return "", fault.New(fault.Invalid, "read address of", Postgres, err)
	}
	host, port, err := net.SplitHostPort(relay)
	if err != nil {
		return "", fault.New(fault.Invalid, "read address of", "relay", err)
	}
	query := database.Query()
	query.Set("host", host)
	query.Set("port", port)
	database.RawQuery = query.Encode()
	return database.String(), nil
}

// listener is one of the broker's for one role alone: clients go where the broker says that it is, and it says to each
// what goes with the listener on which it was asked.
type listener struct{ bound, advertised string }

// takeListeners takes addresses for the listeners of all roles that are there from the start.
func (c *Cluster) takeListeners() error {
	if !c.config.Relays {
		return nil
	}
	for _, role := range Roles {
		for range c.config.count(role) {
			var l listener
			for _, address := range []*string{&l.bound, &l.advertised} {
				var err error
				if *address, err = c.ports.take(); err != nil {
					return err
				}
			}
			c.listeners = append(c.listeners, l)
		}
	}
	return nil
}

// listener returns a listener that no role has, if there is one: there are none without relays, and for roles that are added.
func (c *Cluster) listener() (own listener, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.listeners) == 0 {
		return own, false
	}
	own, c.listeners = c.listeners[0], c.listeners[1:]
	return own, true
}

// listenerSettings are the broker's settings for its listeners.
func listenerSettings(client, controller string, own []listener) string {
	bound := []string{"PLAINTEXT://" + client, "CONTROLLER://" + controller}
	advertised := bound[:1:1]
	protocols := []string{"PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"}
	var threads strings.Builder
	for i, l := range own {
		name := fmt.Sprintf("ROLE%d", i)
		bound = append(bound, name+"://"+l.bound)
		advertised = append(advertised, name+"://"+l.advertised)
		protocols = append(protocols, name+":PLAINTEXT")
		fmt.Fprintf(&threads, "listener.name.%s.num.network.threads=1\n", strings.ToLower(name))
	}
	return fmt.Sprintf("listeners=%s\nadvertised.listeners=%s\nlistener.security.protocol.map=%s\n%s",
		strings.Join(bound, ","), strings.Join(advertised, ","), strings.Join(protocols, ","), threads.String())
}
