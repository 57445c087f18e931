package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// account is the user that the server runs as. PostgreSQL refuses to run as root, so a root process
// either gives its rights up for those of another user, or, where that user could not enter the
// directory, shows the server a user namespace in which root carries that user's number.
type account struct {
	name     string
	uid, gid int
	drop     bool // give up root's rights for those of uid
	mapped   bool // stay as we are, and be seen as uid inside a user namespace
}

// accountFor chooses the account for a server in dir, which exists.
func accountFor(ctx context.Context, dir, name string, binaries installation) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	as, err := lookup(name)
	if err != nil {
		return account{}, err
	}
	as.drop = true
	blocked := as.blockedAt(filepath.Dir(dir))
	if blocked == nil {
		if as.blockedAt(dir) != nil {
			err = os.Chmod(dir, 0o711) // dir is the server's own
		}
		return as, err
	}
	inside := account{name: as.name, uid: as.uid, gid: as.gid, mapped: true}
	if err := inside.try(ctx, binaries); err != nil {
		return account{}, fault.Newf(fault.Invalid, "choose the account for", dir,
			"%w: choose a data directory that user %s can enter, such as /var/lib/trawl (a user namespace, which would do instead: %w)", blocked, as.name, err)
	}
	return inside, nil
}

// lookup finds the user of that name, or the customary one where the name is empty.
func lookup(name string) (account, error) {
	names := []string{name}
	if name == "" {
		names = []string{"postgres", "nobody"}
	}
	var problems []error
	for _, n := range names {
		u, err := user.Lookup(n)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, err
		}
		if uid == 0 {
			return account{}, fault.Newf(fault.Invalid, "choose account", n, "PostgreSQL does not run as root")
		}
		return account{name: n, uid: uid, gid: gid}, nil
	}
	return account{}, fault.New(fault.Invalid, "choose", "an account that is not root for PostgreSQL", errors.Join(problems...))
}

// blockedAt returns an error that names the first directory, from the root down to dir, that the
// account may not pass through. Access control lists are not read: what they alone allow is taken to be
// forbidden.
func (as account) blockedAt(dir string) error {
	if parent := filepath.Dir(dir); parent != dir {
		if err := as.blockedAt(parent); err != nil {
			return err
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	pass := fs.FileMode(0o001)
	switch {
	case int(st.Uid) == as.uid:
		pass = 0o100
	case int(st.Gid) == as.gid:
		pass = 0o010
	}
	if info.Mode()&pass == 0 {
		return fmt.Errorf("user %s, whom the server runs as, cannot enter %s (mode %04o, owner %d)", as.name, dir, info.Mode().Perm(), st.Uid)
	}
	return nil
}

// attributes returns what a child that runs as the account needs. It is in a process group of its own,
// so that an interrupt at the terminal, which goes to the whole group in front, reaches us alone.
func (as account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	switch {
	case as.drop:
		attr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	case as.mapped:
		mapInto(attr, as.uid, as.gid)
	}
	return attr
}

// try runs the server's binary as the account, for nothing but to see that it can be.
func (as account) try(ctx context.Context, binaries installation) error {
	cmd := exec.CommandContext(ctx, binaries.path("postgres"), "--version")
	cmd.Env = environment()
	cmd.SysProcAttr = as.attributes()
	return cmd.Run()
}

// own makes the account the owner of path and of all below it. The directory itself comes last: an
// interrupted run is seen by the next one, and finished.
func (as account) own(path string) error {
	uid, gid := as.uid, as.gid
	if as.mapped {
		uid, gid = os.Geteuid(), os.Getegid()
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) == uid || os.Geteuid() != 0 {
		return nil
	}
	err = filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == path {
			return err
		}
		return os.Lchown(p, uid, gid)
	})
	if err != nil {
		return err
	}
	return os.Lchown(path, uid, gid)
}

// environment is what the binaries see of ours: nothing that would change what they do.
func environment() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
