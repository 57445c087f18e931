// Package membership provides who is alive: each process tells the others its roles and capacity by gossip, and
// learns of theirs.
//
// It decides nothing; who does what with the members is the leader's to say. The protocol is SWIM, by
// hashicorp/memberlist.
//
// # How soon a death is noticed
//
// Each member is probed about once a second by some other. One that does not answer is suspected, and declared dead
// after 3 seconds in a cluster of up to ten, 4.5 of thirty, 6 of a hundred, unless it answers meanwhile; where
// others confirm the suspicion slowly, up to three times as long. Measured on one machine from a kill on: 5 to 7 s among 3 to 10
// members, 6 to 11 s among 30, 12 s at worst. A member that leaves in order is gone at once.
//
// # Finding a first member
//
// Members leave their address in etcd, under a lease ([Registry]). A member that is alone, or sees addresses of
// members that it does not know, asks there: so the two halves of a network that fell apart find one another.
//
// # Format
//
// A member's [Meta] is JSON of at most 512 bytes with a version; see meta.go.
package membership

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Config says how a process takes part.
type Config struct {
	// Name is unique among the members, and at most 128 bytes.
	Name string
	// BindAddr is the address to listen on, TCP and UDP. Port 0 takes any. "" means 127.0.0.1:0.
	BindAddr string
	// AdvertiseAddr is the address at which others reach this member, "host:port" or "host". "" means as bound.
	AdvertiseAddr string
	// Key, of 16, 24 or 32 bytes, encrypts what members say; all must have the same. Empty means plain text.
	Key []byte
	// Meta is what others are to know.
	Meta Meta
	// Registry is where first members are found. Its zero value is nowhere: then the member stays alone.
	Registry Registry
	// LookInterval is how often the registry is asked. Zero means five seconds.
	LookInterval time.Duration
	// Logger gets what goes on. Nil means nobody does.
	Logger *slog.Logger
}

// Member is a process that is known to be alive, or not yet known to be dead.
type Member struct {
	Name string
	Addr string // host:port of its gossip
	Meta Meta
	// Problem says why Meta could not be read, and is empty if it could: then Meta is the zero value, which says nothing.
	Problem string
}

// Cluster is this process among the members. It is safe for concurrent use.
type Cluster struct {
	config Config
	log    *slog.Logger

	mu       sync.Mutex
	meta     Meta
	list     *memberlist.Memberlist // nil before Run and after
	members  map[string]Member
	watchers map[chan struct{}]struct{}
}

// New checks the configuration. It connects nothing. Errors are of kind [fault.Invalid].
func New(config Config) (*Cluster, error) {
	if config.Name == "" || len(config.Name) > 128 {
		return nil, fault.Newf(fault.Invalid, "configure", "membership", "the name %q is empty or longer than 128 bytes", config.Name)
	}
	if config.BindAddr == "" {
		config.BindAddr = "127.0.0.1:0"
	}
	if config.LookInterval == 0 {
		config.LookInterval = 5 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if _, err := config.Meta.encode(); err != nil {
		return nil, err
	}
	c := &Cluster{
		config: config, log: config.Logger, meta: config.Meta,
		members: make(map[string]Member), watchers: make(map[chan struct{}]struct{}),
	}
	if _, err := c.protocol(); err != nil {
		return nil, err
	}
	return c, nil
}

// leaveTimeout is how long leaving may take.
const leaveTimeout = 2 * time.Second

// Run takes part until ctx is done, then leaves and returns nil. It can be called once at a time. Its error says that the
// address cannot be listened on.
func (c *Cluster) Run(ctx context.Context) error {
	protocol, err := c.protocol()
	if err != nil {
		return err
	}
	list, err := memberlist.Create(protocol)
	if err != nil {
		return fault.New(fault.Unavailable, "listen for members on", c.config.BindAddr, err)
	}
	c.mu.Lock()
	c.list = list
	c.mu.Unlock()
	registering := make(chan struct{})
	go func() {
		defer close(registering)
		c.config.Registry.register(ctx, c.config.Name, list.LocalNode().Address(), c.log)
	}()
	c.join(ctx, list)
	<-registering
	c.mu.Lock()
	c.list = nil
	c.mu.Unlock()
	return c.leave(list)
}

// leave says goodbye.
func (c *Cluster) leave(list *memberlist.Memberlist) error {
	if err := list.Leave(leaveTimeout); err != nil {
		c.log.Warn("left without all members knowing", "error", err)
	}
	if err := list.Shutdown(); err != nil {
		return fault.New(fault.Unavailable, "stop listening for members", "", err)
	}
	return nil
}

// join looks for members that this one does not know, again and again, until ctx is done.
func (c *Cluster) join(ctx context.Context, list *memberlist.Memberlist) {
	ticker := time.NewTicker(c.config.LookInterval)
	defer ticker.Stop()
	for {
		addresses, err := c.config.Registry.addresses(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("cannot look for members", "error", err)
		}
		var strangers []string
		for name, address := range addresses {
			if !c.knows(name) {
				strangers = append(strangers, address)
			}
		}
		slices.Sort(strangers) // so that two halves try the same bridge
		if len(strangers) > 0 {
			if _, err := list.Join(strangers[:min(3, len(strangers))]); err != nil && ctx.Err() == nil {
				c.log.Debug("cannot join members, will try again", "addresses", strangers, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (c *Cluster) knows(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.members[name]
	return ok
}

// protocol returns the configuration of memberlist.
func (c *Cluster) protocol() (*memberlist.Config, error) {
	host, port, err := splitHostPort(c.config.BindAddr)
	if err != nil {
		return nil, err
	}
	p := memberlist.DefaultLANConfig()
	// A suspicion lasts 3 probe intervals and not 4, and at most 3 times as long, not 6: a dead worker holds its shards
	// meanwhile, and a live one that is taken for dead loses no work by it and is back at its next word.
	p.SuspicionMult, p.SuspicionMaxTimeoutMult = 3, 3
	// A member that died may come back under its name at another address, as a pod does.
	p.DeadNodeReclaimTime = time.Second
	p.Name, p.BindAddr, p.BindPort = c.config.Name, host, port
	if c.config.AdvertiseAddr != "" {
		if p.AdvertiseAddr, p.AdvertisePort, err = splitHostPort(c.config.AdvertiseAddr); err != nil {
			return nil, err
		}
	} else {
		p.AdvertisePort = port
	}
	if len(c.config.Key) > 0 {
		if err := memberlist.ValidateKey(c.config.Key); err != nil {
			return nil, fault.New(fault.Invalid, "read the key of", "membership", err)
		}
		p.SecretKey = c.config.Key
	}
	p.Delegate = delegate{c}
	p.Events = events{c}
	p.Conflict = conflicts{c}
	p.Logger = nil
	p.LogOutput = logWriter{c.log}
	return p, nil
}

// splitHostPort reads "host:port" or "host".
func splitHostPort(address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil && !strings.Contains(address, ":") {
		host, text, err = address, "0", nil
	}
	port, parseErr := strconv.ParseUint(text, 10, 16)
	if err = errors.Join(err, parseErr); err != nil {
		return "", 0, fault.New(fault.Invalid, "read address", address, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, int(port), nil
}

// Members returns the members known to be alive, this one included, sorted by name. It does not block.
func (c *Cluster) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Member, 0, len(c.members))
	for _, m := range c.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Watch returns a channel that gets a value soon after the members changed, or what they tell. Changes are coalesced: a
// reader that is slow misses none of them, only how many they were. The channel gets nothing more once ctx is done.
func (c *Cluster) Watch(ctx context.Context) <-chan struct{} {
	w := make(chan struct{}, 1)
	c.mu.Lock()
	c.watchers[w] = struct{}{}
	c.mu.Unlock()
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		delete(c.watchers, w)
		c.mu.Unlock()
	})
	return w
}

// changed notes members that came, changed or went. It must not block.
func (c *Cluster) changed(name string, member *Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if member != nil {
		c.members[name] = *member
	} else {
		delete(c.members, name)
	}
	for w := range c.watchers {
		select {
		case w <- struct{}{}:
		default: // it has not looked yet; it will see this too
		}
	}
}

// Update changes what others are to know of this member, and tells them.
func (c *Cluster) Update(meta Meta) error {
	if _, err := meta.encode(); err != nil {
		return err
	}
	c.mu.Lock()
	c.meta = meta
	list := c.list
	c.mu.Unlock()
	if list == nil {
		return nil
	}
	if err := list.UpdateNode(leaveTimeout); err != nil {
		return fault.New(fault.Unavailable, "tell members about", c.config.Name, err)
	}
	return nil
}
