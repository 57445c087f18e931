package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/trawl-scanner/trawl/pkg/store"
)

// repeat takes a step of the leader's work again and again until ctx is done: at an interval, and at once where the step
// says that there is more to do. A step that fails is logged under its name and taken again; one that shows that another
// leads ends it.
func repeat(ctx context.Context, log *slog.Logger, name string, interval time.Duration, step func(context.Context) (more bool, err error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		more, err := step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrFenced):
			return err
		case err != nil:
			log.Warn("a step failed, will try again", "step", name, "error", err)
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
