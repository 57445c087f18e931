package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// trouble is what a line of a log looks like that somebody should see: of a role, of a Java program and etcd, of
// PostgreSQL.
var trouble = regexp.MustCompile(`level=(WARN|ERROR)|\b(ERROR|FATAL|PANIC)\b|"level":"(error|fatal|panic)"|^panic:`)

// lookInterval is how often logs are looked at, and longestLine how much of a line is shown.
const (
	lookInterval = 500 * time.Millisecond
	longestLine  = 400
)

// watch shows lines of all logs that tell of trouble, from now on, until ctx is done.
func watch(ctx context.Context, w io.Writer, c *local.Cluster) error {
	read := make(map[string]int64)
	for _, a := range c.Addresses() {
		if info, err := os.Stat(a.Log); err == nil {
			read[a.Log] = info.Size()
		}
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, a := range c.Addresses() {
			n, err := show(w, a.Name, a.Log, read[a.Log])
			if err != nil {
				return err
			}
			read[a.Log] = n
		}
	}
}

// show prints the lines of a log that tell of trouble and that begin at an offset or later, and returns where the
// first line begins that is not whole yet.
func show(w io.Writer, name, path string, offset int64) (int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return offset, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() < offset {
		offset = 0 // it was put aside, and begun anew
	}
	text, err := io.ReadAll(io.NewSectionReader(file, offset, 1<<20))
	if err != nil {
		return offset, err
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	for _, line := range bytes.Split(text[:end], []byte("\n")) {
		if trouble.Match(line) {
			fmt.Fprintf(w, "%-14s %s\n", name, line[:min(len(line), longestLine)])
		}
	}
	return offset + int64(end), nil
}
