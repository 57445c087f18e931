package local

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// startEtcd starts etcd: the one on PATH, or one that is built.
func (c *Cluster) startEtcd(ctx context.Context) error {
	program, err := exec.LookPath("etcd")
	if errors.Is(err, exec.ErrNotFound) {
		program, err = c.build(ctx, "etcd", "github.com/trawl-scanner/trawl/deploy/local/etcd")
	}
	if err != nil {
		return err
	}
	address, err := c.ports.take()
	if err != nil {
		return err
	}
	peer, err := c.ports.take()
	if err != nil {
		return err
	}
	env := cleanEnvironment()
	if runtime.GOARCH == "arm64" { // which etcd 3.4 refuses to run on unless it is told that this is meant
		env = append(env, "ETCD_UNSUPPORTED_ARCH=arm64")
	}
	c.etcd = address
	m := &member{name: Etcd, role: Etcd, address: address, debug: address}
	m.part = &process{
		program: program, dir: c.config.Dir, env: env, log: filepath.Join(c.config.Dir, "logs", Etcd+".log"),
		args: []string{
			"--name", "local", "--data-dir", filepath.Join(c.config.Dir, Etcd),
			"--listen-client-urls", "http://" + address, "--advertise-client-urls", "http://" + address,
			"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
			"--initial-cluster", "local=http://" + peer, "--logger", "zap", "--log-level", "warn", "--enable-pprof",
		},
	}
	m.answers = func(ctx context.Context) error { return get(ctx, "http://"+address+"/health", io.Discard) }
	return c.serve(ctx, m)
}

// build builds a program of this module, and returns where it is. It wants the working directory to be in the module.
func (c *Cluster) build(ctx context.Context, name, pkg string) (string, error) {
	program := filepath.Join(c.config.Dir, "bin", name)
	args := []string{"build", "-o", program}
	if exec.CommandContext(ctx, "pkg-config", "--exists", "libisal").Run() == nil {
		args = append(args, "-tags", "isal") // as make build does
	}
	if said, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput(); err != nil {
		kind := fault.Invalid
		if errors.Is(err, exec.ErrNotFound) {
			kind = fault.NotFound
		}
		return "", fault.Newf(kind, "build", pkg, "%w\n%s", err, strings.TrimSpace(string(said)))
	}
	return program, nil
}
