// Package chaos provides proof that a cluster loses no work: it has images scanned, and advisories change, while members of
// the cluster are killed, paused and cut off; and it compares what the database then holds with what it holds after the
// same work was done in peace.
//
// What happens when is made from a seed, see [Blow]: the same seed makes the same images, the same advisories and the same
// schedule. It does not make the same run: how far everybody is when a blow comes is up to the machine.
//
// Each role is cut off by itself from etcd, Kafka, PostgreSQL, all three, or what the others say to it by gossip. From the
// registry all are cut off at once: a reference names it, so that everybody goes to the same address.
//
// # What is compared
//
// All rows that say what was found, by natural keys, not by ids: submissions and what became of them, images and their
// packages with the layer that each is from, layers and what they say, releases, affected ranges, findings, and the changes
// that new versions of the advisories made. See [Content]. Not compared are times, attempts, and changes for releases
// that came with an image while the advisories changed: these are in the changes or not, depending on which was first.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/deploy/local"
	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/election"
)

// strikes carries out a schedule.
type strikes struct {
	cluster *local.Cluster
	etcd    *clientv3.Client
	log     *slog.Logger

	mu   sync.Mutex
	down map[string]bool
	done map[string]int // by kind
}

// strike carries out a schedule, and returns when all is undone: each member runs then. Its error says of what could not be
// undone, and of members that ended by themselves, which they must not, whatever happens to others.
func strike(ctx context.Context, c *local.Cluster, blows []Blow, log *slog.Logger) error {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{c.Servers().Etcd}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer etcd.Close()
	s := &strikes{cluster: c, etcd: etcd, log: log, down: make(map[string]bool), done: make(map[string]int)}
	g, striking := errgroup.WithContext(ctx)
	began := time.Now()
	for _, b := range blows {
		if !wait(striking, time.Until(began.Add(b.At))) {
			break
		}
		g.Go(func() error { return s.blow(striking, b) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var ended []error
	for _, a := range c.Addresses() {
		if a.State == local.Ended {
			ended = append(ended, fmt.Errorf("%s ended by itself", a.Name))
		}
	}
	log.Info("the schedule is at its end", "blows", fmt.Sprint(s.done))
	return errors.Join(append(ended, ctx.Err())...)
}

// wait waits, and reports whether ctx still lasts.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// blow strikes a member, waits, and undoes it. Who is down already is left alone.
func (s *strikes) blow(ctx context.Context, b Blow) error {
	name := b.Target
	if name == Leader {
		if name = s.leader(ctx); name == "" {
			s.log.Info("nobody leads who could be hit", "blow", b.String())
			return nil
		}
	}
	if !s.take(name) {
		s.log.Info("it is down already", "blow", b.String(), "member", name)
		return nil
	}
	defer s.release(name)
	s.log.Info("blow", "blow", b.String(), "member", name)
	do, undo := s.acts(ctx, b, name)
	if err := do(); err != nil {
		return fmt.Errorf("%s %s: %w", b.Act, name, err)
	}
	s.mu.Lock()
	s.done[b.Kind()]++
	s.mu.Unlock()
	wait(ctx, b.For)
	if b.Fatal {
		if err := errors.Join(s.cluster.Kill(name), s.cluster.Restart(ctx, name)); err != nil {
			return fmt.Errorf("kill %s, which was struck by %s: %w", name, b.Act, err)
		}
		if b.Act == Pause { // it is another process now
			return nil
		}
	}
	if err := undo(); err != nil {
		return fmt.Errorf("undo %s %s: %w", b.Act, name, err)
	}
	return nil
}

func (s *strikes) acts(ctx context.Context, b Blow, name string) (do, undo func() error) {
	c := s.cluster
	switch b.Act {
	case Pause:
		return func() error { return c.Pause(name) }, func() error { return c.Resume(name) }
	case Cut:
		return func() error { return c.Cut(name, b.From) }, func() error { return c.Mend(name) }
	default:
		return func() error { return c.Kill(name) }, func() error { return c.Restart(ctx, name) }
	}
}

// take notes that a member is down, and reports whether it was not.
func (s *strikes) take(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down[name] {
		return false
	}
	s.down[name] = true
	return true
}

func (s *strikes) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.down, name)
}

// leader returns the name of the coordinator that leads as etcd has it, or "" where that cannot be had.
func (s *strikes) leader(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	leader, err := election.Current(ctx, s.etcd, cluster.CoordinatorPrefix)
	if err != nil {
		return ""
	}
	return leader.ID
}
