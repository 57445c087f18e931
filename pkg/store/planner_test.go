package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// A source that comes second is one of which Postgres' statistics know nothing: its joins must not be planned as
// if it had a handful of rows. They would take minutes.
func TestSourceThatStatisticsDoNotKnow(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	err := s.RegisterSources(t.Context(), []advisory.Source{{Name: "other", Covers: []string{"other:*"}}})
	if err != nil {
		t.Fatal(err)
	}
	applyFeed(t, s, debianFeed("1", "openssl CVE-2026-1 3.0.1-1"))
	if _, err := s.pool.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	lines := make([]string, 30_000)
	for i := range lines {
		lines[i] = fmt.Sprintf("package%d CVE-2026-%d 1.%d-1", i%500, i+1, i%50)
	}
	content := debianFeed("2", lines...)
	content.Source, content.URL = "other", "https://other.example/json"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it takes one
	defer cancel()
	delta, err := s.ApplyFeed(ctx, content)
	if err != nil || delta.Added != len(lines) {
		t.Errorf("%d ranges added, %v", delta.Added, err)
	}
}
