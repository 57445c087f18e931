package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestBudgetHooks(t *testing.T) {
	var mu sync.Mutex
	var log []string
	held := 0
	cfg := Config{
		Acquire: func(_ context.Context, r Request) (func(), error) {
			mu.Lock()
			defer mu.Unlock()
			held++
			log = append(log, fmt.Sprintf("acquire %s %s %s %s", r.Kind, r.Method, r.Host, r.Repository.Name))
			return func() { mu.Lock(); held--; mu.Unlock() }, nil
		},
		Observe: func(r Response) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, fmt.Sprintf("observe %s %d", r.Kind, r.Status))
		},
	}
	guardedTest(t, cfg, func(t *testing.T, _ *guarded, c *Client) {
		if err := manifestOf(t.Context(), c, "app"); err != nil {
			t.Fatal(err)
		}
		r, err := c.Blob(t.Context(), Repository{testHost, "app"}, digest.SHA256(blobContent), 0)
		if err != nil {
			t.Fatal(err)
		}
		if held != 1 {
			t.Errorf("%d permissions held while a blob is read", held)
		}
		r.Close()
		r.Close()
		if held != 0 {
			t.Errorf("%d permissions held in the end", held)
		}
	})
	want := []string{
		"acquire manifest GET registry.example app", "observe manifest 401",
		"acquire token GET auth.example app", "observe token 200",
		"acquire manifest GET registry.example app", "observe manifest 200",
		"acquire blob GET registry.example app", "observe blob 307",
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBudgetRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryNet()
		s := &script{t: t, steps: []http.HandlerFunc{status(200)}}
		m.serve(t, testHost, s)
		spent := &fault.Error{Kind: fault.RateLimited, Op: "wait for budget", After: time.Hour, Err: errors.New("spent")}
		c := m.client(t, Config{Acquire: func(context.Context, Request) (func(), error) { return nil, spent }})
		err := manifestOf(t.Context(), c, "app")
		wantKind(t, err, fault.RateLimited)
		if !errors.Is(err, spent) || fault.AfterOf(err) != time.Hour || len(s.asked()) != 0 {
			t.Errorf("%v after %d requests", err, len(s.asked()))
		}
	})
}
