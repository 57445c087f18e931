package local

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"

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
	reached := m.gossip
	if own, ok := c.listener(); ok {
		var err error
		if reached, err = c.linkRole(ctx, m, own); err != nil {
			m.links.close()
			return nil, err
		}
	}
	if err := c.add(m); err != nil {
		m.links.close()
		return nil, err
	}
	p.log, p.dir = m.log, filepath.Join(c.config.Dir, m.name)
	p.args = []string{
		role, "--config", c.settingsOf(m), "--name", m.name, "--data-dir", p.dir,
		"--introspection", m.introspection, "--gossip", m.gossip, "--gossip-address", reached, "--log-format", "text",
	}
	if role == API {
		p.args = append(p.args, "--listen", m.address)
	}
	p.args = append(p.args, c.config.Arguments[role]...)
	return m, os.MkdirAll(p.dir, 0o755)
}

// Settings is the file of settings: "trawl --config FILE status" asks this cluster.
func (c *Cluster) Settings() string { return filepath.Join(c.config.Dir, "trawl.yaml") }

// settingsOf is the file of settings of a role.
func (c *Cluster) settingsOf(m *member) string {
	if m.links == nil {
		return c.Settings()
	}
	return filepath.Join(c.config.Dir, m.name+".yaml")
}

// writeSettings writes what roles have to know, and where a command line finds the API.
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
	if err := write(c.Settings(), settings); err != nil {
		return err
	}
	for _, m := range c.all() {
		if m.links == nil || !slices.Contains(Roles, m.role) {
			continue
		}
		dsn, err := throughRelay(servers.Postgres, m.links[Postgres].address())
		if err != nil {
			return err
		}
		settings["postgres"] = dsn
		settings["etcd"], settings["kafka"] = []string{m.links[Etcd].address()}, []string{m.links[Kafka].address()}
		if err := write(c.settingsOf(m), settings); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file of settings.
func write(file string, settings map[string]any) error {
	text, err := yaml.Marshal(settings)
	if err != nil {
		return fault.New(fault.Invalid, "write", file, err)
	}
	return os.WriteFile(file, append([]byte("# Written at every start.\n"), text...), 0o644)
}
