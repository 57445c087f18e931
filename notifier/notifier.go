// Package notifier provides the role that tells others what changed: which findings are new, which are gone.
//
// Nothing is written for it to tell yet, so it has nothing to do: the changes become facts with the deltas of the
// sources. It takes its place in a process, so that deployments need not change when it does.
package notifier

import "context"

// Run waits until ctx is done, and returns nil.
func Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
