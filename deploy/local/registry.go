package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// registrySettings are those of the registry (distribution 2.8, docs/configuration.md). The fields are the directory
// and the two addresses, the second one that of its profiles.
const registrySettings = `# Written at every start.
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: %q
  cache:
    blobdescriptor: inmemory
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: %s
  secret: local
  debug:
    addr: %s
`

// startRegistry starts the registry of images.
func (c *Cluster) startRegistry(ctx context.Context) error {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return fault.Newf(fault.NotFound, "find", "docker-registry", "it is not installed: apt-get install docker-registry (%w)", err)
	}
	address, err := c.ports.take()
	if err != nil {
		return err
	}
	debug, err := c.ports.take()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.images(), 0o755); err != nil {
		return err
	}
	settings := filepath.Join(c.config.Dir, "registry.yml")
	if err := os.WriteFile(settings, fmt.Appendf(nil, registrySettings, c.images(), address, debug), 0o644); err != nil {
		return err
	}
	m := &member{name: Registry, role: Registry, address: address, debug: debug}
	c.registry = address
	if c.config.Relays || c.config.RegistryPath != (Path{}) {
		if c.registry, err = m.links.add(ctx, &c.ports, Registry, address, c.config.RegistryPath); err != nil {
			return err
		}
	}
	m.part = &process{
		program: program, args: []string{"serve", settings}, dir: c.config.Dir,
		// It takes a buffer of 4 MiB for each blob that it serves; collected less often they cost less.
		env: append(cleanEnvironment(), "GOGC=400", "GOMEMLIMIT=384MiB"),
		log: filepath.Join(c.config.Dir, "logs", Registry+".log"),
	}
	m.answers = func(ctx context.Context) error { return get(ctx, "http://"+address+"/v2/", io.Discard) }
	return c.serve(ctx, m)
}

// images is the directory of the registry's images.
func (c *Cluster) images() string { return filepath.Join(c.config.Dir, Registry) }
