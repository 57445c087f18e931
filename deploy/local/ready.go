package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/shard"
)

// glance is how often is looked whether something has come to be.
const glance = 50 * time.Millisecond

// Ready waits until each member that runs says that it is ready: a role's /readyz, a server's own way. A member that
// ended by itself is an error that ends with its log.
func (c *Cluster) Ready(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range c.all() {
		if s := m.is(); s == Running || s == Ended {
			g.Go(func() error { return c.await(ctx, m) })
		}
	}
	return g.Wait()
}

// await waits until a member answers.
func (c *Cluster) await(ctx context.Context, m *member) error {
	done := m.part.done()
	var last error
	err := until(ctx, func() (bool, error) {
		select {
		case <-done:
			return false, m.withLog(fault.Newf(fault.Unavailable, "run", m.name, "it ended: %w", ended(m.part.err())))
		default:
		}
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		last = m.answers(asking)
		return last == nil, nil
	})
	if err != nil {
		if last != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w (last answer: %w)", err, last)
		}
		return fault.Wrap("wait for", m.name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.took == 0 {
		m.took = time.Since(m.launched)
		c.log.Info("ready", "member", m.name, "took", m.took.Round(time.Millisecond))
	}
	return nil
}

// ended says in words how a process ended.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// until asks again and again until the answer is yes or an error.
func until(ctx context.Context, ask func() (bool, error)) error {
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		ok, err := ask()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Canceled, "stop", "", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// get asks for a page, and returns an error where the answer is not good.
func get(ctx context.Context, url string, out io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fault.New(fault.Invalid, "get", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "get", url, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // what there is of it
		return fault.Newf(fault.Unavailable, "get", url, "%s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	if _, err := io.Copy(out, response.Body); err != nil {
		return fault.New(fault.Unavailable, "get", url, err)
	}
	return nil
}

// Client returns a client of the first API process that runs; another call may return another.
func (c *Cluster) Client() (*client.Client, error) {
	for _, m := range c.all() {
		if m.role == API && m.is() == Running {
			return m.client, nil
		}
	}
	return nil, fault.Newf(fault.NotFound, "find", "an API process", "none runs")
}

// Settled waits until the cluster is at work: a coordinator leads, the members are those that run, each shard is in the
// hands of the worker that it is assigned to, and each worker has some. It returns what the API then told.
func (c *Cluster) Settled(ctx context.Context) (*api.Status, error) {
	var status *api.Status
	var lack string
	err := until(ctx, func() (bool, error) {
		asked, err := c.Client()
		if err != nil {
			return false, err
		}
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if status, err = asked.Status(asking); err != nil {
			lack = err.Error()
			return false, nil // it may answer next time
		}
		lack = c.lacks(&status.Cluster)
		return lack == "", nil
	})
	if err != nil {
		return status, fault.Newf(fault.KindOf(err), "wait for", "the cluster to settle", "%w (%s)", err, lack)
	}
	return status, nil
}

// lacks says what keeps the cluster from being settled, or nothing.
func (c *Cluster) lacks(seen *api.Cluster) string {
	there := make(map[string]api.Member)
	for _, m := range seen.Members {
		there[m.Name] = m
	}
	workers, shards, led := 0, 0, false
	for _, m := range c.all() {
		if m.gossip == "" || m.is() != Running {
			continue
		}
		member, ok := there[m.name]
		if !ok {
			return m.name + " is not seen"
		}
		delete(there, m.name)
		shards += member.Shards
		if m.role == Worker {
			if workers++; member.Shards == 0 {
				return m.name + " has no shard yet"
			}
		}
		led = led || m.name == seen.Leader
	}
	for name := range there {
		return name + " is still seen"
	}
	switch {
	case !led:
		return fmt.Sprintf("leader: %q", seen.Leader)
	case workers > 0 && (seen.Unassigned > 0 || shards < shard.Count):
		return fmt.Sprintf("shards: %d not assigned, %d in the hands of workers that run", seen.Unassigned, shards)
	}
	return ""
}
