package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Profile takes a CPU profile of each member that has them, all during the same time, of whole seconds: the roles,
// etcd and the registry. They are written to dir as NAME.pprof, for go tool pprof. One that could not be had is an
// error beside the others.
func (c *Cluster) Profile(ctx context.Context, d time.Duration, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var failed []error
	results := make(chan error)
	for _, m := range c.all() {
		if m.debug == "" || m.is() != Running {
			continue
		}
		failed = append(failed, nil)
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", m.debug, max(1, int(math.Round(d.Seconds()))))
		go func() { results <- fault.Wrap("profile", m.name, save(ctx, url, filepath.Join(dir, m.name+".pprof"))) }()
	}
	for i := range failed {
		failed[i] = <-results
	}
	return errors.Join(failed...)
}

func save(ctx context.Context, url, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(get(ctx, url, file), file.Close())
}
