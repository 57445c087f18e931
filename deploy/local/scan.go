package local

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// ScanOptions say how images are submitted.
type ScanOptions struct {
	// Requests is how many are under way at once. Zero means 16.
	Requests int
	// Lane is "now" or "bulk". "" means bulk.
	Lane string
}

// Scanned is how a scan of many images went.
type Scanned struct {
	Images int
	// Submitted is how long it took until the last one was accepted, and Done until no work was left.
	Submitted, Done time.Duration
	// States counts the submissions by what became of them.
	States map[string]int
	// Problems are those of submissions that are not complete, the first ten.
	Problems []string
	// Usage is what each member took meanwhile: the time on processors since the scan began, and memory at its end.
	// Where it cannot be had it is empty.
	Usage []Usage
}

// Rate is how many images were done in a second.
func (s *Scanned) Rate() float64 { return float64(s.Images) / s.Done.Seconds() }

// pollInterval is how often is asked whether work is left: the error of the time that a scan took.
const pollInterval = 100 * time.Millisecond

// Scan submits references and waits until there is no work left in the whole cluster; then it asks what became of
// each. What it takes itself is none of the usage.
func (c *Cluster) Scan(ctx context.Context, references []string, o ScanOptions) (*Scanned, error) {
	if o.Requests == 0 {
		o.Requests = 16
	}
	if o.Lane == "" {
		o.Lane = "bulk"
	}
	api, err := c.Client()
	if err != nil {
		return nil, err
	}
	before, _ := c.Usage() // empty where it cannot be had
	began := time.Now()
	ids, err := submit(ctx, api, references, o)
	if err != nil {
		return nil, err
	}
	out := &Scanned{Images: len(references), Submitted: time.Since(began)}
	if err := idle(ctx, api); err != nil {
		return nil, err
	}
	out.Done = time.Since(began)
	if after, err := c.Usage(); err == nil {
		out.Usage = since(before, after)
	}
	return out, out.count(ctx, api, ids, o)
}

// submit submits references, and returns the ids of their submissions.
func submit(ctx context.Context, to *client.Client, references []string, o ScanOptions) ([]string, error) {
	ids := make([]string, len(references))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Requests)
	for i, reference := range references {
		g.Go(func() error {
			s, err := to.Submit(ctx, api.NewSubmission{Target: reference, Lane: o.Lane})
			if err != nil {
				return fault.Wrap("submit", reference, err)
			}
			ids[i] = s.ID
			return nil
		})
	}
	return ids, g.Wait()
}

// idle waits until no work is left.
func idle(ctx context.Context, from *client.Client) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var left api.Backlog
	for {
		if status, err := from.Status(ctx); err == nil {
			left = status.Backlog
			if left.SubmissionsQueued+left.ImagesPending+left.LayersUnsent+left.LayersSent == 0 {
				return nil
			}
		} // else it may answer next time
		select {
		case <-ctx.Done():
			return fault.Newf(fault.Canceled, "wait for", "the end of all work", "%w; left: %+v", context.Cause(ctx), left)
		case <-ticker.C:
		}
	}
}

// since returns what was used between two moments.
func since(before, after []Usage) []Usage {
	was := make(map[string]Usage)
	for _, u := range before {
		was[u.Name] = u
	}
	for i := range after {
		if then := was[after[i].Name].CPU; then <= after[i].CPU { // else it was started anew meanwhile
			after[i].CPU -= then
		}
	}
	return after
}

// count asks what became of submissions.
func (s *Scanned) count(ctx context.Context, from *client.Client, ids []string, o ScanOptions) error {
	s.States = make(map[string]int)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Requests)
	for _, id := range ids {
		g.Go(func() error {
			last, err := from.Follow(ctx, id, func(*api.Submission) {})
			if err != nil {
				return fault.Wrap("ask for", id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			s.States[last.State]++
			if last.State != api.StateComplete && len(s.Problems) < 10 {
				s.Problems = append(s.Problems, fmt.Sprintf("%s: %s: %+v", last.Target, last.State, last.Problem))
			}
			return nil
		})
	}
	return g.Wait()
}
