package chaos

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/deploy/local"
)

// wish is an image to be submitted under an Idempotency-Key.
type wish struct {
	key, reference string
	at             time.Duration // from the start
}

// Images are submitted up to lead before a blow, so that it hits members at work, and up to lag after it, so that work finds
// members hit.
const (
	lead = 500 * time.Millisecond
	lag  = time.Second
)

// wishes are what is submitted in the course of a run: each image, and every seventh once more by somebody else. They come in
// bursts, one around each of the blows; without blows all at once.
func wishes(seed uint64, references []string, blows []Blow) []wish {
	r := rand.New(rand.NewPCG(seed, 1))
	var out []wish
	for i, reference := range references {
		var at time.Duration
		if len(blows) > 0 {
			at = max(0, blows[i*len(blows)/len(references)].At-lead+time.Duration(r.Int64N(int64(lead+lag))))
		}
		out = append(out, wish{fmt.Sprintf("chaos %d %d", seed, i), reference, at})
		if i%7 == 0 {
			out = append(out, wish{fmt.Sprintf("chaos %d %d again", seed, i), reference, at})
		}
	}
	slices.SortStableFunc(out, func(a, b wish) int { return cmp.Compare(a.at, b.at) })
	return out
}

// submitters is how many submit at once, and patience how long each waits for an answer before it tries again.
const (
	submitters = 16
	patience   = 5 * time.Second
)

// submit submits each wish at its time, again and again until it is accepted.
func submit(ctx context.Context, c *local.Cluster, wishes []wish) error {
	began := time.Now()
	queue := make(chan wish)
	failed := make(chan error, submitters)
	var all sync.WaitGroup
	for range submitters {
		all.Go(func() {
			for w := range queue {
				if err := insist(ctx, c, w); err != nil {
					failed <- fmt.Errorf("submit %s: %w", w.reference, err)
					return
				}
			}
		})
	}
	var err error
	for _, w := range wishes {
		if wait(ctx, time.Until(began.Add(w.at))) {
			select {
			case queue <- w:
				continue
			case err = <-failed:
			case <-ctx.Done():
			}
		}
		err = errors.Join(err, ctx.Err())
		break
	}
	close(queue)
	all.Wait()
	close(failed)
	for one := range failed {
		err = errors.Join(err, one)
	}
	return err
}

// insist submits a wish until it is accepted, each time to the next of the API processes.
func insist(ctx context.Context, c *local.Cluster, w wish) error {
	var last error
	for attempt := 0; ; attempt++ {
		var apis []string
		for _, a := range c.Addresses() {
			if a.Role == local.API {
				apis = append(apis, a.Address)
			}
		}
		again, err := post(ctx, apis[attempt%len(apis)], w)
		if err == nil || !again {
			return err
		}
		last = err
		if !wait(ctx, 100*time.Millisecond) {
			return fmt.Errorf("after %d attempts: %w", attempt+1, last)
		}
	}
}

// post submits a wish once, and reports whether it makes sense to try again after an error.
func post(ctx context.Context, address string, w wish) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := json.Marshal(api.NewSubmission{Target: w.reference, Lane: "bulk"})
	if err != nil {
		return false, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/submissions", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", w.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return true, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return true, err
	case response.StatusCode >= http.StatusInternalServerError:
		return true, fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
	case response.StatusCode >= http.StatusMultipleChoices:
		return false, fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	return true, json.Unmarshal(text, new(api.Submission))
}
