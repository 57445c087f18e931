package local

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// State is what a member is doing.
type State string

// The states of a member.
const (
	Running State = "running"
	Paused  State = "paused"
	Stopped State = "stopped" // or killed, as it was told to
	Ended   State = "ended"   // by itself
)

// member is one process of the cluster, or one server with its processes.
type member struct {
	name, role            string
	address               string         // of what it serves
	client                *client.Client // of an API
	introspection, gossip string         // of a role
	debug                 string         // where profiles can be had, in Go's form
	links                 links          // which can be cut
	log                   string         // file
	part                  part
	answers               func(ctx context.Context) error // whether it is ready

	operating sync.Mutex // held while it is started, stopped or paused

	mu       sync.Mutex
	state    State
	launched time.Time
	took     time.Duration // from the last launch until it was first seen to answer
}

// part is what a member is made of: a process, or a server with its processes.
type part interface {
	// launch starts it, and returns when it runs; it need not answer yet. ctx bounds the launch alone.
	launch(ctx context.Context) error
	// stop lets it end in order, and kills it when ctx ends first, which is an error. It returns when it has ended,
	// at once where it had before.
	stop(ctx context.Context) error
	// signal sends a signal to all of its processes.
	signal(signal syscall.Signal) error
	// done is closed when what was launched last has ended, and err then tells how.
	done() <-chan struct{}
	err() error
	// pids are its processes, the first of them first.
	pids() []int
}

// serve adds a server, launches it, and waits until it answers.
func (c *Cluster) serve(ctx context.Context, m *member) error {
	if err := c.add(m); err != nil {
		return err
	}
	if err := c.begin(ctx, m.name); err != nil {
		return err
	}
	return c.await(ctx, m)
}

// begin launches a member that does not run.
func (c *Cluster) begin(ctx context.Context, name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	m.operating.Lock()
	defer m.operating.Unlock()
	if c.isClosed() {
		return fault.Newf(fault.Invalid, "start", name, "the cluster is closed")
	}
	m.mu.Lock()
	m.launched, m.took = time.Now(), 0
	m.mu.Unlock()
	if err := m.part.launch(ctx); err != nil {
		m.set(Stopped)
		return fault.Wrap("start", name, err)
	}
	m.set(Running)
	go c.watch(m, m.part.done())
	return nil
}

// watch tells of a member that ends by itself.
func (c *Cluster) watch(m *member, done <-chan struct{}) {
	<-done
	m.mu.Lock()
	itself := m.state == Running && m.part.done() == done
	if itself {
		m.state = Ended
	}
	m.mu.Unlock()
	if itself {
		c.log.Error("a member ended by itself", "member", m.name, "error", m.part.err(), "log", m.log)
	}
}

func (c *Cluster) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (m *member) set(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
}

func (m *member) is() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// stop stops a member that runs, within grace, or kills it. Of one that does not run, what it left is removed.
func (m *member) stop(grace time.Duration) error {
	m.operating.Lock()
	defer m.operating.Unlock()
	state := m.is()
	if state == Paused {
		if err := m.part.signal(syscall.SIGCONT); err != nil {
			return fault.Wrap("resume", m.name, err)
		}
	}
	if state == Running || state == Paused {
		m.set(Stopped)
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return fault.Wrap("stop", m.name, m.part.stop(ctx))
}

// tailBytes is how much of a log stands in an error.
const tailBytes = 2 << 10

// withLog adds the last lines of a member's log to an error.
func (m *member) withLog(err error) error {
	text, readErr := os.ReadFile(m.log)
	if readErr != nil {
		return err
	}
	if len(text) > tailBytes {
		_, after, _ := strings.Cut(string(text[len(text)-tailBytes:]), "\n")
		text = []byte(after)
	}
	return fault.Newf(fault.KindOf(err), "run", m.name, "%w; its log %s ends:\n%s", err, m.log, strings.TrimSpace(string(text)))
}
