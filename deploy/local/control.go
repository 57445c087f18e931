package local

import (
	"context"
	"os"
	"syscall"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Kill ends a member at once and without its knowledge (SIGKILL), also one that is paused, and returns when it has
// ended. One that does not run is left as it is.
func (c *Cluster) Kill(name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	m.operating.Lock()
	defer m.operating.Unlock()
	if s := m.is(); s != Running && s != Paused {
		return nil
	}
	m.set(Stopped)
	if err := m.part.signal(syscall.SIGKILL); err != nil {
		return fault.Wrap("kill", name, err)
	}
	<-m.part.done()
	return nil
}

// Pause stops a member in its tracks (SIGSTOP): its connections stay, and it does not answer.
func (c *Cluster) Pause(name string) error {
	return c.suspend("pause", name, syscall.SIGSTOP, Running, Paused)
}

// Resume lets a paused member go on (SIGCONT).
func (c *Cluster) Resume(name string) error {
	return c.suspend("resume", name, syscall.SIGCONT, Paused, Running)
}

func (c *Cluster) suspend(op, name string, signal syscall.Signal, from, to State) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	m.operating.Lock()
	defer m.operating.Unlock()
	if s := m.is(); s != from {
		return fault.Newf(fault.Invalid, op, name, "it is %s", s)
	}
	if err := m.part.signal(signal); err != nil {
		return fault.Wrap(op, name, err)
	}
	m.set(to)
	return nil
}

// Cut cuts a role off from [Etcd], [Kafka], [Postgres] or [Gossip], or from [Everything] of these, without its knowledge:
// what it sends does not arrive, and it hears nothing; of gossip it hears nothing, and is heard. Cut from everything,
// [Registry] is what nobody reaches any more. All else goes on. The cluster must have been started with [Config.Relays].
func (c *Cluster) Cut(name, from string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return fault.Wrap("cut off", name, m.links.cut(from))
}

// Mend undoes all cuts of a member.
func (c *Cluster) Mend(name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	m.links.mend()
	return nil
}

// Stop asks a member to end in order (SIGTERM), and returns when it has. One that does not within [Config.Grace] is
// killed, which is an error.
func (c *Cluster) Stop(name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return m.stop(c.config.Grace)
}

// Restart starts a member again, at the same addresses and with what it keeps; one that runs is stopped first. It
// returns when the process runs; [Cluster.Ready] waits until it answers.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	if err := c.Stop(name); err != nil {
		return err
	}
	return c.begin(ctx, name)
}

// Logs returns what a member said, over all of its starts.
func (c *Cluster) Logs(name string) (string, error) {
	m, err := c.member(name)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(m.log)
	if err != nil {
		return "", fault.New(fault.Unavailable, "read log of", name, err)
	}
	return string(text), nil
}
