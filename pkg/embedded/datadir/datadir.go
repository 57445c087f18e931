// Package datadir provides the rule that one process at a time owns a data directory, and a way for the
// others to learn who that is and how to reach it.
//
// The lock is flock(2) on DIR/lock, which the system gives back when its holder ends, however that
// comes: nothing a dead process left ever blocks. What stands in DIR/owner.json is for people and
// clients to read; it is never what the lock rests on. File systems without flock, such as some network
// ones, are refused.
//
// It does not keep processes apart that do not call it, nor machines that share a directory unless
// their file system locks across them.
//
// # Format
//
// owner.json is an object {"pid", "host", "command", "api", "since"}: a number, strings, and a time in
// RFC 3339, UTC. "api" is absent until the owner listens. Members may be added.
package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

const (
	lockName  = "lock"
	ownerName = "owner.json"
)

// glance is how long after each try a waiter tries again: flock cannot be waited for with a context.
const glance = 25 * time.Millisecond

// settling bounds how long a lock may be held by a process of which owner.json does not tell: one that
// has just taken it, or one that only looks whether it is taken.
const settling = 250 * time.Millisecond

// Owner says who owns a directory.
type Owner struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`       // as it was typed: "trawl serve --data-dir d"
	API     string    `json:"api,omitempty"` // the base URL of the owner's REST API; empty until it listens
	Since   time.Time `json:"since"`
}

// String reads as the end of "in use by …".
func (o Owner) String() string {
	s := fmt.Sprintf("%q (process %d on %s, since %s", o.Command, o.PID, o.Host, o.Since.UTC().Format(time.RFC3339))
	if o.API != "" {
		s += ", API at " + o.API
	}
	return s + ")"
}

// OwnedError says that another process owns the directory. Its kind is [fault.Conflict].
type OwnedError struct {
	Owner *Owner // nil where the owner has not said who it is
}

func (e *OwnedError) Error() string {
	if e.Owner == nil {
		return "in use by a process that has not said which it is"
	}
	return "in use by " + e.Owner.String()
}

// FaultKind makes the error a [fault.Conflict].
func (*OwnedError) FaultKind() fault.Kind { return fault.Conflict }

// Lock is the ownership of a directory. Safe for concurrent use.
type Lock struct {
	dir string

	mu    sync.Mutex
	file  *os.File // nil once released
	owner Owner
}

// Acquire makes this process the owner of dir, which is made if missing. Where another process is,
// Acquire returns an [*OwnedError] at once, or if wait is set tries until ctx ends and returns then.
// Whoever acquires a lock releases it.
func Acquire(ctx context.Context, dir string, wait bool) (*Lock, error) {
	l, err := acquire(ctx, dir, wait)
	if err != nil {
		return nil, fault.Wrap("take ownership of", dir, err)
	}
	return l, nil
}

func acquire(ctx context.Context, dir string, wait bool) (*Lock, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := awaitLock(ctx, dir, file, wait); err != nil {
		_ = file.Close()
		return nil, err
	}
	host, _ := os.Hostname()
	l := &Lock{dir: dir, file: file, owner: Owner{
		PID: os.Getpid(), Host: host, Command: strings.Join(os.Args, " "), Since: time.Now().UTC().Truncate(time.Second),
	}}
	if err := l.writeOwner(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return l, nil
}

// makeDir makes dir, unless it is there, for its owner alone. Where that is root, others may pass
// through it, whatever the umask: PostgreSQL runs as another user and keeps its data below.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil || os.Geteuid() != 0 {
		return err
	}
	return os.Chmod(dir, 0o711)
}

// awaitLock returns when file is locked.
func awaitLock(ctx context.Context, dir string, file *os.File, wait bool) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for begin := time.Now(); ; {
		locked, err := tryLock(file, unix.LOCK_EX)
		if locked || err != nil {
			return err
		}
		owner, known := read(dir)
		owned := &OwnedError{}
		if known {
			owned.Owner = &owner
		}
		if !wait && (known || time.Since(begin) > settling) {
			return owned
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", owned, ctx.Err())
		case <-tick.C:
		}
	}
}

// tryLock locks file unless another holds it.
func tryLock(file *os.File, how int) (bool, error) {
	for {
		switch err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOLCK):
			return false, fault.Newf(fault.Unsupported, "lock", file.Name(), "the file system has no locks (flock): choose a directory on a local one: %w", err)
		default:
			return false, fault.New(fault.Unavailable, "lock", file.Name(), err)
		}
	}
}

// read returns what owner.json says, and whether it is of a process that runs: what a killed owner
// left, or one that is just being replaced, says nothing of the present one.
func read(dir string) (Owner, bool) {
	b, err := os.ReadFile(filepath.Join(dir, ownerName))
	if err != nil {
		return Owner{}, false
	}
	var o Owner
	if err := json.Unmarshal(b, &o); err != nil || o.PID <= 0 {
		return Owner{}, false
	}
	return o, !errors.Is(syscall.Kill(o.PID, 0), syscall.ESRCH)
}

// OwnerOf returns who owns dir now, for a client to find its server, or a fault.NotFound where nobody
// does or the owner has not said who it is. It changes nothing.
func OwnerOf(dir string) (Owner, error) {
	const op = "look for the owner of"
	owner, known := read(dir)
	if !known {
		return Owner{}, fault.Newf(fault.NotFound, op, dir, "no process owns it")
	}
	// The process lives, but its number may be another's by now: only an owner has the lock. We get it
	// for a moment where there is none.
	file, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return Owner{}, fault.Wrap(op, dir, err)
	}
	defer file.Close()
	free, err := tryLock(file, unix.LOCK_SH)
	if err != nil {
		return Owner{}, fault.Wrap(op, dir, err)
	}
	if free {
		return Owner{}, fault.Newf(fault.NotFound, op, dir, "no process owns it; one that ended without notice was %s", owner)
	}
	return owner, nil
}

// Owner returns what the lock tells others of its owner.
func (l *Lock) Owner() Owner {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owner
}

// Dir returns the directory.
func (l *Lock) Dir() string { return l.dir }

// Announce tells others the base URL of this process's API.
func (l *Lock) Announce(api string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return fault.Newf(fault.Invalid, "announce the API in", l.dir, "the lock was released")
	}
	l.owner.API = api
	return fault.Wrap("announce the API in", l.dir, l.writeOwner())
}

// writeOwner replaces owner.json in one step.
func (l *Lock) writeOwner() error {
	b, err := json.MarshalIndent(l.owner, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, ownerName)
	if err := os.WriteFile(path+".next", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".next", path)
}

// Release gives the directory up. Releasing twice is no error.
func (l *Lock) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	// The lock file stays: were it removed, two processes could each lock one of that name.
	err := os.Remove(filepath.Join(l.dir, ownerName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, l.file.Close())
	l.file = nil
	return fault.Wrap("release", l.dir, err)
}
