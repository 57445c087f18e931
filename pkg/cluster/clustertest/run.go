package clustertest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// stopTime is how long what [Go] runs may take to return when it is told to stop.
const stopTime = 20 * time.Second

// Go runs f, of a role for instance, until stop is called or the test ends, and waits until it has returned. An error of
// f fails the test.
func Go(tb testing.TB, f func(context.Context) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("it ended with: %v", err)
			}
		case <-time.After(stopTime):
			tb.Errorf("it has not ended %s after it was told to stop", stopTime)
		}
	})
	tb.Cleanup(stop)
	return stop
}

// patience is long: a test that waits says whether something happens, also on a machine that is busy, and not how soon.
const patience = 2 * time.Minute

// Eventually waits until condition holds, and fails the test if it does not within two minutes. what says what is waited for.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-ticker.C {
		if time.Now().After(deadline) {
			tb.Fatalf("not after %s: %s", patience, what)
		}
	}
}
