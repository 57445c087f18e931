package local

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// newRole makes a process of a role, which does not run yet.
func (c *Cluster) newRole(ctx context.Context, role string) (*member, error) {
	p := &process{program: c.binary, env: cleanEnvironment()}
	m := &member{role: role, part: p}
	want := []*string{&m.introspection, &m.gossip}
	if role == API {
		want = append(want, &m.address)
	}
	for _, address := range want {
		var err error
		if *address, err = c.ports.take(); err != nil {
			return nil, err
		}
	}
	m.debug = m.introspection
	if role == API {
		var err error
		if m.client, err = client.New(m.address); err != nil {
			return nil, err
		}
	}
	m.answers = func(ctx context.Context) error { return get(ctx, "http://"+m.introspection+"/readyz", io.Discard) }
	if c.config.Relays {
		address, err := c.ports.take()
		if err != nil {
			return nil, err
		}
		if m.relay, err = newRelay(ctx, address, c.etcd); err != nil {
			return nil, err
		}
	}
	if err := c.add(m); err != nil {
		return nil, err
	}
	p.log, p.dir = m.log, filepath.Join(c.config.Dir, m.name)
	p.args = []string{
		role, "--config", c.Settings(), "--name", m.name, "--data-dir", p.dir,
		"--introspection", m.introspection, "--gossip", m.gossip, "--log-format", "text",
	}
	if role == API {
		p.args = append(p.args, "--listen", m.address)
	}
	if m.relay != nil {
		p.args = append(p.args, "--etcd", m.relay.listener.Addr().String())
	}
	p.args = append(p.args, c.config.Arguments[role]...)
	return m, os.MkdirAll(p.dir, 0o755)
}

// Settings is the file of settings: "trawl --config FILE status" asks this cluster.
func (c *Cluster) Settings() string { return filepath.Join(c.config.Dir, "trawl.yaml") }

// writeSettings writes what all roles share, and where a command line finds the API.
func (c *Cluster) writeSettings() error {
	servers := c.Servers()
	settings := map[string]any{
		"postgres": servers.Postgres, "etcd": []string{servers.Etcd}, "kafka": []string{servers.Kafka},
	}
	for _, m := range c.all() {
		if m.role == API {
			settings["server"] = "http://" + m.address
			break
		}
	}
	text, err := yaml.Marshal(settings)
	if err != nil {
		return fault.New(fault.Invalid, "write", c.Settings(), err)
	}
	return os.WriteFile(c.Settings(), append([]byte("# Written at every start.\n"), text...), 0o644)
}
