package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// initialize makes the cluster dir/data, unless there is one. It is made in a directory beside it and
// renamed when whole, so that being killed at any point leaves nothing half-made; what earlier attempts
// left is removed.
func initialize(ctx context.Context, dir string, binaries installation, as account, scratch bool) error {
	if err := removeAttempts(dir); err != nil {
		return err
	}
	dataDir := filepath.Join(dir, "data")
	switch _, err := os.Lstat(filepath.Join(dataDir, "PG_VERSION")); {
	case err == nil:
		return as.own(dataDir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	attempt, err := os.MkdirTemp(dir, "init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(attempt) // nothing is there any more once it is renamed
	if err := as.own(attempt); err != nil {
		return err
	}
	if err := runInitdb(ctx, attempt, binaries, as, scratch); err != nil {
		return err
	}
	if err := os.Rename(attempt, dataDir); err != nil {
		return err
	}
	return syncDir(dir)
}

func removeAttempts(dir string) error {
	attempts, err := filepath.Glob(filepath.Join(dir, "init-*"))
	if err != nil {
		return err
	}
	for _, a := range attempts {
		if err := os.RemoveAll(a); err != nil {
			return err
		}
	}
	return nil
}

func runInitdb(ctx context.Context, dataDir string, binaries installation, as account, scratch bool) error {
	args := []string{
		"--pgdata=" + dataDir,
		"--username=" + superuser,
		"--encoding=UTF8",
		"--locale=C",   // bytes order text: fast, and the same on every machine for ever
		"--auth=trust", // who can enter the socket's directory is who may connect
	}
	if scratch {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, binaries.path("initdb"), args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = as.attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	p, err := launch(cmd, syscall.SIGKILL)
	if err != nil {
		return fault.New(fault.Unavailable, "run", cmd.Path, err)
	}
	<-p.done
	if ctx.Err() != nil {
		return fault.Wrap("run", cmd.Path, ctx.Err())
	}
	if p.err != nil {
		return fault.New(fault.Unavailable, "run", cmd.Path, fmt.Errorf("%w; it said:\n%s", p.err, strings.TrimSpace(said.String())))
	}
	return nil
}

// syncDir makes a rename in dir last through a crash of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
