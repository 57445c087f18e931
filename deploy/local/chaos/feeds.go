package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/deploy/local"
)

// trackerPath is where a mirror has the document of the Debian security tracker.
const trackerPath = "security-tracker.debian.org/tracker/data/json"

// The source packages of [local.Load]: those of its bases, and those that single images install.
const (
	baseSources = 50
	ownFirst    = 5_000
	ownSources  = 1_501
)

type trackerEntry struct {
	Description string                    `json:"description"`
	Releases    map[string]trackerRelease `json:"releases"`
}

type trackerRelease struct {
	Status  string `json:"status"`
	Fixed   string `json:"fixed_version,omitempty"`
	Urgency string `json:"urgency"`
}

// tracker returns a version of the document, the first of which is 1. From each version to the next some advisories
// have another fix and urgency, some are withdrawn for good, and some are new. No difference comes twice.
func tracker(version int) ([]byte, error) {
	document := make(map[string]map[string]trackerEntry)
	add := func(source, number int) {
		id := source*10 + number
		turn := source*6 + number // of which there are all, so that something happens in each version
		if issued := 1 + max(0, turn%7-3)*3; issued > version {
			return
		}
		if withdrawn := 2 + turn%23; withdrawn <= version && turn%5 == 0 {
			return
		}
		revision := 0
		for v := 2; v <= version; v++ {
			if (v+turn)%3 == 0 {
				revision++
			}
		}
		name := fmt.Sprintf("src-%d", source)
		if document[name] == nil {
			document[name] = make(map[string]trackerEntry)
		}
		document[name][fmt.Sprintf("CVE-2024-%06d", id)] = trackerEntry{
			Description: "Made up.",
			Releases: map[string]trackerRelease{"bookworm": {
				Status: "resolved", Fixed: fmt.Sprintf("%d.%d-1", 1+(id+5*revision)%9, (11*revision+number)%30),
				Urgency: []string{"low", "medium", "high"}[revision%3],
			}},
		}
	}
	for source := range baseSources {
		for number := range 6 {
			add(source, number)
		}
	}
	for source := range ownSources {
		add(ownFirst+source, 0)
	}
	return json.Marshal(document)
}

// mirror is a directory that advisories are read from.
type mirror struct {
	dir     string
	cluster *local.Cluster
	log     *slog.Logger
}

// put puts a version of the advisories into the mirror, in place of the one before, and returns its checksum.
func (m *mirror) put(version int) ([]byte, error) {
	text, err := tracker(version)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(m.dir, trackerPath)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return sum[:], os.Rename(file+".new", file)
}

// publish puts a version of the advisories into the mirror, asks for it to be read, and waits until it was.
func (m *mirror) publish(ctx context.Context, version int) error {
	sum, err := m.put(version)
	if err != nil {
		return err
	}
	began := time.Now()
	for {
		if has, err := m.has(ctx, sum); err == nil && has {
			m.log.Info("advisories are applied", "version", version, "after", time.Since(began).Round(time.Millisecond).String())
			return nil
		} // else it may have next time
		m.ask(ctx)
		if !wait(ctx, time.Second) {
			return fmt.Errorf("version %d of the advisories is not applied %s after it was published: %w", version, time.Since(began), context.Cause(ctx))
		}
	}
}

// ask asks for an update. It may be lost on the way, and is asked for again.
func (m *mirror) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if client, err := m.cluster.Client(); err == nil {
		_, _ = client.UpdateFeeds(ctx, nil)
	}
}

// has reports whether the database has read the document with this checksum.
func (m *mirror) has(ctx context.Context, sum []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.cluster.Servers().Postgres)
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	var read []byte
	if err := conn.QueryRow(ctx, `SELECT checksum FROM feed`).Scan(&read); err != nil {
		return false, err
	}
	return bytes.Equal(read, sum), nil
}
