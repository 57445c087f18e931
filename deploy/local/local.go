// Package local provides a whole cluster on one machine, for tests and for people: Apache Kafka, etcd, PostgreSQL and
// a registry of images, and every role of the program, each as a process of its own on the loopback interface.
//
// What it starts is what a cluster of many machines runs: the released broker with its default garbage collector and
// a log on disk, etcd and PostgreSQL with theirs flushed, the program's own binary. Members can be killed, paused,
// stopped, started again and added one by one; see [Cluster.Kill] and its neighbors. [Load] makes images to scan.
//
// It installs nothing but Kafka's jars, which Maven fetches once into the user's cache directory, and it is no way to
// run a service: everything trusts the machine. It needs a Unix system, and Linux for [Cluster.Usage] and for members
// that die with a harness that was killed.
//
// # What is needed
//
//	java     17 or newer, and mvn until the jars are cached     default-jre-headless, maven
//	etcd     or, where it is not on PATH, the go command        etcd-server
//	docker-registry                                             docker-registry
//	initdb, postgres                                            postgresql
//
// # Layout
//
//	DIR/trawl.yaml     settings of every role, and of a command line that asks this cluster
//	DIR/NAME.yaml      settings of the role NAME where it reaches the servers over relays of its own
//	DIR/logs/NAME.log  what the member NAME said, over all of its starts
//	DIR/NAME           what it keeps
//	DIR/bin            what was built for this cluster
//
// and USERCACHE/trawl/kafka-VERSION, the jars. Nothing is written elsewhere, but for the socket of PostgreSQL where
// DIR is too long for one.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// The roles of the program, as its subcommands are called.
const (
	Coordinator = "coordinator"
	Worker      = "worker"
	Updater     = "updater"
	Notifier    = "notifier"
	API         = "api"
)

// Roles are all roles, in the order in which they are listed.
var Roles = []string{Coordinator, Worker, Updater, Notifier, API}

// The servers, which are members of these names.
const (
	Kafka    = "kafka"
	Etcd     = "etcd"
	Postgres = "postgres"
	Registry = "registry"
)

// Config says what a cluster is made of. Only Dir is required.
type Config struct {
	// Dir holds everything of the cluster; see the package comment. It is made if missing, and used by one cluster
	// at a time. What an earlier cluster kept there is carried on. Its owner removes it.
	Dir string
	// How many processes of each role there are. Zero means two coordinators, three workers and one of each other
	// role; a negative number means none.
	Coordinators, Workers, Updaters, Notifiers, APIs int
	// Binary is the program. "" builds it from the module of the working directory.
	Binary string
	// Arguments are further flags of a role, such as {"worker": {"--layers", "2"}}.
	Arguments map[string][]string
	// KafkaVersion is the version of Apache Kafka. "" means [DefaultKafkaVersion].
	KafkaVersion string
	// PostgresSettings are settings of postgresql.conf, such as "shared_buffers": "1GB".
	PostgresSettings map[string]string
	// Scratch is for tests: PostgreSQL's data need not survive a crash of the machine, though they survive every kill:
	// what it commits is with the system, if not on the disk. And the broker's code is compiled less well, which makes
	// its start cheaper and all else dearer. Not for figures.
	Scratch bool
	// Relays has each process that is there from the start reach etcd, Kafka and PostgreSQL, and be reached by the
	// gossip of the others, over relays of its own; and all reach the registry over one. [Cluster.Cut] cuts them.
	Relays bool
	// RegistryPath, if not zero, lies between everybody and the registry, in a relay of this process: references name it.
	RegistryPath Path
	// Grace is how long a member may take to stop before it is killed. Zero means 30 seconds.
	Grace time.Duration
	// Logger gets what goes on: members that start, and those that end without being told to. Nil means nobody does.
	Logger *slog.Logger
}

const defaultGrace = 30 * time.Second

// withDefaults checks a configuration and fills in what it leaves open.
func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, fault.Newf(fault.Invalid, "configure", "cluster", "it has no directory")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fault.New(fault.Invalid, "configure", "cluster", err)
	}
	c.Dir = dir
	if c.Binary != "" {
		if c.Binary, err = filepath.Abs(c.Binary); err != nil {
			return c, fault.New(fault.Invalid, "configure", "cluster", err)
		}
	}
	for _, n := range []struct {
		count *int
		usual int
	}{{&c.Coordinators, 2}, {&c.Workers, 3}, {&c.Updaters, 1}, {&c.Notifiers, 1}, {&c.APIs, 1}} {
		if *n.count == 0 {
			*n.count = n.usual
		}
	}
	for role := range c.Arguments {
		if !slices.Contains(Roles, role) {
			return c, fault.Newf(fault.Invalid, "configure", "cluster", "arguments are given for %q, which is no role", role)
		}
	}
	if c.KafkaVersion == "" {
		c.KafkaVersion = DefaultKafkaVersion
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// count returns how many processes of a role there are at the start.
func (c Config) count(role string) int {
	return map[string]int{
		Coordinator: c.Coordinators, Worker: c.Workers, Updater: c.Updaters, Notifier: c.Notifiers, API: c.APIs,
	}[role]
}

// Cluster is a running cluster. It is safe for concurrent use. Whoever started it closes it.
type Cluster struct {
	config Config
	log    *slog.Logger
	lock   *datadir.Lock
	ports  ports
	binary string

	dsn, etcd, kafka, registry string // where the servers are, once they run

	listeners []listener // of the broker, one for each role that is reached over relays

	mu      sync.Mutex
	members []*member // in the order in which they are listed
	closed  bool
}

// Start starts the servers, waits until they answer, and starts the roles, which connect by themselves:
// [Cluster.Ready] waits for them. ctx bounds the start alone. A start that fails leaves nothing running. The first
// start on a machine fetches Kafka, some 45 MB.
//
// The kind of its error is [fault.NotFound] where a program is missing that has to be installed,
// [fault.Conflict] where another cluster runs in the directory.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: config, log: config.Logger}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fault.Wrap("start cluster in", config.Dir, err), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) (err error) {
	if c.lock, err = datadir.Acquire(ctx, c.config.Dir, false); err != nil {
		return err
	}
	for _, dir := range []string{"logs", "bin"} {
		if err := os.MkdirAll(filepath.Join(c.config.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	// Those that take longest first: on few cores the others start in their pauses.
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() error { return c.startKafka(starting) })
	g.Go(func() error { return c.startPostgres(starting) })
	g.Go(func() error { return c.startEtcd(starting) })
	g.Go(func() error { return c.startRegistry(starting) })
	g.Go(func() (err error) { c.binary, err = c.program(starting); return err })
	if err := g.Wait(); err != nil {
		return err
	}
	return c.startRoles(ctx)
}

// program returns the program that the roles run.
func (c *Cluster) program(ctx context.Context) (string, error) {
	if c.config.Binary == "" {
		return c.build(ctx, "trawl", "github.com/trawl-scanner/trawl")
	}
	if _, err := os.Stat(c.config.Binary); err != nil {
		return "", fault.Newf(fault.NotFound, "find", c.config.Binary, "%w; make build leaves it at bin/trawl", err)
	}
	return c.config.Binary, nil
}

// startRoles makes the processes of all roles, and the settings that they share.
func (c *Cluster) startRoles(ctx context.Context) error {
	var names []string
	for _, role := range Roles {
		for range c.config.count(role) {
			m, err := c.newRole(ctx, role)
			if err != nil {
				return err
			}
			names = append(names, m.name)
		}
	}
	if err := c.writeSettings(); err != nil {
		return err
	}
	g, starting := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error { return c.begin(starting, name) })
	}
	return g.Wait()
}

// Add starts one more process of a role, and returns its name.
func (c *Cluster) Add(ctx context.Context, role string) (string, error) {
	if !slices.Contains(Roles, role) {
		return "", fault.Newf(fault.Invalid, "add", role, "want one of %v", Roles)
	}
	m, err := c.newRole(ctx, role)
	if err != nil {
		return "", err
	}
	return m.name, c.begin(ctx, m.name)
}

// nextName returns the name of the next process of a role: worker-4. c.mu is held.
func (c *Cluster) nextName(role string) string {
	n := 1
	for _, m := range c.members {
		if m.role == role {
			n++
		}
	}
	return role + "-" + strconv.Itoa(n)
}

// add notes a member.
func (c *Cluster) add(m *member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fault.Newf(fault.Invalid, "add", m.name, "the cluster is closed")
	}
	if m.name == "" {
		m.name = c.nextName(m.role)
	}
	m.log = filepath.Join(c.config.Dir, "logs", m.name+".log")
	c.members = append(c.members, m)
	return nil
}

// member returns the member of that name.
func (c *Cluster) member(name string) (*member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fault.Newf(fault.NotFound, "find", name, "the cluster has no such member")
}

// all returns the members as they are listed.
func (c *Cluster) all() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.members)
}

// closingOrder is the order in which members stop: nobody may miss what it needs to stop well.
var closingOrder = [][]string{{API, Updater, Notifier}, {Worker}, {Coordinator}, {Registry, Kafka}, {Etcd, Postgres}}

// Close stops everything in order: what is in hand is finished first. It takes no longer than [Config.Grace] and two
// seconds for each of five groups of members, and as a rule a few seconds in all. Nothing runs when it returns; its
// error names what had to be killed. Closing twice is no error.
func (c *Cluster) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	var failed []error
	for _, roles := range closingOrder {
		var group []*member
		for _, m := range c.all() {
			if slices.Contains(roles, m.role) {
				group = append(group, m)
			}
		}
		ended := make(chan error, len(group))
		for _, m := range group {
			go func() { ended <- m.stop(c.config.Grace) }()
		}
		for range group {
			failed = append(failed, <-ended)
		}
	}
	for _, m := range c.all() {
		m.links.close()
	}
	if c.lock != nil {
		failed = append(failed, c.lock.Release())
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("close cluster: %w", err)
	}
	return nil
}
