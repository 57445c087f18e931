package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestKindOf(t *testing.T) {
	cause := New(RateLimited, "get", "https://registry.example/v2/", nil)
	cause.After = time.Minute
	wrapped := Wrap("pull", "app@sha256:12", fmt.Errorf("token: %w", cause))
	for _, c := range []struct {
		name  string
		err   error
		kind  Kind
		after time.Duration
		text  string
	}{
		{"a kind survives wrapping", wrapped, RateLimited, time.Minute, "pull app@sha256:12: token: get https://registry.example/v2/: rate-limited"},
		{"cancellation", Wrap("scan", "x", context.Canceled), Canceled, 0, "scan x: context canceled"},
		{"a deadline is a peer that does not answer", context.DeadlineExceeded, Unavailable, 0, "context deadline exceeded"},
		{"no kind", errors.New("odd"), Unknown, 0, "odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := KindOf(c.err); got != c.kind {
				t.Errorf("kind %v, want %v", got, c.kind)
			}
			if got := AfterOf(c.err); got != c.after {
				t.Errorf("after %v, want %v", got, c.after)
			}
			if got := c.err.Error(); got != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
		})
	}
	if Wrap("x", "y", nil) != nil {
		t.Error("Wrap of nil must be nil")
	}
}

func TestNames(t *testing.T) {
	for k := Unknown; k <= Canceled; k++ {
		if Parse(k.String()) != k {
			t.Errorf("Parse(%q) = %v", k.String(), Parse(k.String()))
		}
	}
	if Parse("never heard of") != Unknown {
		t.Error("an unknown name must be Unknown")
	}
}
