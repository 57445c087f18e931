package membership

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/embedded/etcd"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// startEtcd returns a client of an etcd of its own.
func startEtcd(t *testing.T) *clientv3.Client {
	t.Helper()
	server, err := etcd.Start(t.Context(), etcd.Config{Dir: t.TempDir(), Scratch: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server.Client()
}

// node is a member under test.
type node struct {
	*Cluster
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, config Config) *node {
	t.Helper()
	if config.LookInterval == 0 {
		config.LookInterval = 100 * time.Millisecond
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &node{Cluster: c, stop: stop, ended: make(chan error, 1)}
	go func() { n.ended <- c.Run(ctx) }()
	t.Cleanup(func() { n.leave(t) })
	return n
}

func (n *node) leave(t *testing.T) {
	t.Helper()
	n.stop()
	if err := <-n.ended; err != nil {
		t.Error(err)
	}
	n.ended <- nil
}

// waitFor waits until the members are as wanted: names, sorted, separated by spaces.
func (n *node) waitFor(t *testing.T, within time.Duration, what string, ok func([]Member) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	changes := n.Watch(ctx)
	for !ok(n.Members()) {
		select {
		case <-changes:
		case <-ctx.Done():
			t.Fatalf("%s did not see %s within %s; it sees %+v", n.config.Name, what, within, n.Members())
		}
	}
}

func named(want string) func([]Member) bool {
	return func(members []Member) bool {
		var names []string
		for _, m := range members {
			names = append(names, m.Name)
		}
		return strings.Join(names, " ") == want
	}
}

func TestMembers(t *testing.T) {
	registry := Registry{Client: startEtcd(t), Prefix: "/test/members/"}
	var nodes []*node
	for i := range 5 {
		nodes = append(nodes, start(t, Config{
			Name: fmt.Sprint("m", i), Registry: registry,
			Meta: Meta{Roles: []string{RoleWorker}, Capacity: i, Version: "test"},
		}))
	}
	for _, n := range nodes {
		n.waitFor(t, 20*time.Second, "all five", named("m0 m1 m2 m3 m4"))
	}
	for _, m := range nodes[0].Members() {
		if !slices.Contains(m.Meta.Roles, RoleWorker) || fmt.Sprint("m", m.Meta.Capacity) != m.Name || m.Addr == "" {
			t.Errorf("member %+v", m)
		}
	}

	t.Run("what a member tells reaches the others", func(t *testing.T) {
		if err := nodes[1].Update(Meta{Roles: []string{RoleWorker}, Capacity: 77}); err != nil {
			t.Fatal(err)
		}
		nodes[3].waitFor(t, 10*time.Second, "the change", func(members []Member) bool {
			return len(members) == 5 && members[1].Meta.Capacity == 77
		})
	})
	t.Run("one that leaves is gone at once", func(t *testing.T) {
		started := time.Now()
		nodes[4].leave(t)
		nodes[0].waitFor(t, 10*time.Second, "m4 gone", named("m0 m1 m2 m3"))
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("noticed after %s", took)
		}
	})
	t.Run("one that dies is noticed", func(t *testing.T) {
		child, address := startChild(t, "victim")
		if _, err := registry.Client.Put(t.Context(), registry.Prefix+"victim", address); err != nil {
			t.Fatal(err)
		}
		nodes[0].waitFor(t, 10*time.Second, "the victim", named("m0 m1 m2 m3 victim"))
		if _, err := registry.Client.Delete(t.Context(), registry.Prefix+"victim"); err != nil {
			t.Fatal(err)
		}
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		nodes[0].waitFor(t, 40*time.Second, "the victim gone", named("m0 m1 m2 m3"))
		t.Logf("noticed after %s", time.Since(started).Round(100*time.Millisecond))
	})
}

// childVariable makes the test binary a member of that name, which prints its address and waits to be killed.
const childVariable = "TRAWL_TEST_MEMBER"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		c, err := New(Config{Name: name})
		if err != nil {
			panic(err)
		}
		changes := c.Watch(context.Background())
		go func() {
			<-changes
			fmt.Println(c.Members()[0].Addr)
		}()
		panic(c.Run(context.Background()))
	}
	os.Exit(m.Run())
}

// startChild starts a member in a process of its own.
func startChild(t *testing.T, name string) (*os.Process, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self)
	command.Env = append(os.Environ(), childVariable+"="+name)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return command.Process, strings.TrimSpace(address)
}

func TestEncryption(t *testing.T) {
	registry := Registry{Client: startEtcd(t), Prefix: "/test/members/"}
	key := []byte("0123456789abcdef")
	a := start(t, Config{Name: "a", Registry: registry, Key: key})
	b := start(t, Config{Name: "b", Registry: registry, Key: key})
	stranger := start(t, Config{Name: "stranger", Registry: registry})
	stranger.waitFor(t, 10*time.Second, "itself", named("stranger"))
	a.waitFor(t, 10*time.Second, "b", named("a b"))
	b.waitFor(t, 10*time.Second, "a", named("a b"))
	if got := stranger.Members(); !named("stranger")(got) {
		t.Errorf("a stranger without the key sees %+v", got)
	}
}

func TestAlone(t *testing.T) {
	n := start(t, Config{Name: "alone", Meta: Meta{Capacity: 3}})
	n.waitFor(t, 5*time.Second, "itself", named("alone"))
	if n.Members()[0].Meta.Capacity != 3 {
		t.Errorf("%+v", n.Members())
	}
}

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]Config{
		"no name":    {},
		"a long one": {Name: strings.Repeat("x", 200)},
		"an address": {Name: "a", BindAddr: "127.0.0.1:http:x"},
		"a port":     {Name: "a", BindAddr: "127.0.0.1:99999"},
		"a key":      {Name: "a", Key: []byte("short")},
		"much data":  {Name: "a", Meta: Meta{Version: strings.Repeat("x", 600)}},
	} {
		if _, err := New(config); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestMetaOfOtherVersions(t *testing.T) {
	m, err := decodeMeta([]byte(`{"roles":["worker"],"capacity":4,"later":{"x":1}}`))
	if err != nil || m.Capacity != 4 || !slices.Contains(m.Roles, RoleWorker) {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := decodeMeta([]byte("garbage")); fault.KindOf(err) != fault.Corrupt || len(m.Roles) != 0 {
		t.Errorf("%+v, %v; want corrupt", m, err)
	}
}

// TestComesBackElsewhere holds that a member that died can come back under its name at another address.
func TestComesBackElsewhere(t *testing.T) {
	registry := Registry{Client: startEtcd(t), Prefix: "/test/members/"}
	n := start(t, Config{Name: "n", Registry: registry})
	child, address := startChild(t, "victim")
	if _, err := registry.Client.Put(t.Context(), registry.Prefix+"victim", address); err != nil {
		t.Fatal(err)
	}
	n.waitFor(t, 10*time.Second, "the victim", named("n victim"))
	if err := child.Kill(); err != nil {
		t.Fatal(err)
	}
	n.waitFor(t, 40*time.Second, "the victim gone", named("n"))
	start(t, Config{Name: "victim", Registry: registry, Meta: Meta{Capacity: 2}})
	n.waitFor(t, 10*time.Second, "the victim again", func(members []Member) bool {
		return len(members) == 2 && members[1].Addr != address && members[1].Meta.Capacity == 2
	})
}
