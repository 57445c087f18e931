package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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
		Acquire: func(ctx context.Context, r Request) (context.Context, func(), error) {
			mu.Lock()
			defer mu.Unlock()
			held++
			log = append(log, fmt.Sprintf("acquire %s %s %s %s", r.Kind, r.Method, r.Host, r.Repository.Name))
			return ctx, func() { mu.Lock(); held--; mu.Unlock() }, nil
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
		c := m.client(t, Config{Acquire: func(context.Context, Request) (context.Context, func(), error) { return nil, nil, spent }})
		err := manifestOf(t.Context(), c, "app")
		wantKind(t, err, fault.RateLimited)
		if !errors.Is(err, spent) || fault.AfterOf(err) != time.Hour || len(s.asked()) != 0 {
			t.Errorf("%v after %d requests", err, len(s.asked()))
		}
	})
}

func TestAccountOf(t *testing.T) {
	long := strings.Repeat("é", maxAccount)
	for _, c := range []struct {
		credential Credential
		want       string
	}{
		{Credential{Source: "nowhere"}, ""},
		{Credential{Username: "robot", Password: "s3cret"}, "robot"},
		{Credential{Username: "robot", RegistryToken: "s3cret"}, "robot"},
		{Credential{IdentityToken: "s3cret"}, "token-1ec1c26b"},
		{Credential{Username: identityUser, Password: "s3cret"}, "token-1ec1c26b"},
		{Credential{Username: "a\x00b\nc"}, "ab c"},
		{Credential{Username: long}, long[:maxAccount]},
	} {
		if got := c.credential.Account(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.credential, got, c.want)
		}
	}
}

// TestBudgetOfAccount: requests count for who makes them. Where nobody has a budget left, and a credential has, the latter asks first.
func TestBudgetOfAccount(t *testing.T) {
	spent := &fault.Error{Kind: fault.RateLimited, Op: "wait for budget", After: time.Hour, Err: errors.New("spent")}
	for _, c := range []struct {
		spent string // "" is nobody
		want  []string
		kind  fault.Kind
	}{
		{"somebody else", []string{`manifest ""`, `token "ada"`, `manifest "ada"`, `manifest "ada"`}, fault.Unknown},
		{"", []string{`manifest ""`, `manifest "ada"`, `token "ada"`, `manifest "ada"`, `manifest "ada"`}, fault.Unknown},
		{"ada", []string{`manifest ""`, `token "ada"`}, fault.RateLimited},
	} {
		var log []string
		cfg := Config{
			Keychain: fixedKeychain{Username: "ada", Password: "pw"},
			Acquire: func(ctx context.Context, r Request) (context.Context, func(), error) {
				log = append(log, fmt.Sprintf("%s %q", r.Kind, r.Account))
				if r.Account == c.spent {
					return nil, nil, spent
				}
				return ctx, func() {}, nil
			},
		}
		guardedTest(t, cfg, func(t *testing.T, g *guarded, client *Client) {
			g.users = map[string]string{"ada": "pw"}
			for range 2 {
				if err := manifestOf(t.Context(), client, "app"); fault.KindOf(err) != c.kind {
					t.Errorf("%q has no budget left: %v", c.spent, err)
				}
				if c.kind != fault.Unknown {
					break
				}
			}
		})
		if diff := cmp.Diff(c.want, log); diff != "" {
			t.Errorf("%q has no budget left (-want +got):\n%s", c.spent, diff)
		}
	}
}

// TestBudgetIsLost: a request ends when what it was allowed under does, and is made again.
func TestBudgetIsLost(t *testing.T) {
	lost := fault.New(fault.Unavailable, "ask", testHost, errors.New("the lease is over"))
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryNet()
		var end context.CancelCauseFunc
		asked := 0
		m.serve(t, testHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(blobContent)))
				w.Write(blobContent[:1000])
				w.(http.Flusher).Flush()
				end(lost)
				<-r.Context().Done()
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blobContent))
		}))
		held := 0
		c := m.client(t, Config{Acquire: func(ctx context.Context, _ Request) (context.Context, func(), error) {
			ctx, end = context.WithCancelCause(ctx)
			held++
			return ctx, func() { held--; end(nil) }, nil
		}})
		r, err := c.Blob(t.Context(), Repository{testHost, "app"}, digest.SHA256(blobContent), int64(len(blobContent)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, blobContent) || asked != 2 {
			t.Errorf("%d bytes after %d requests: %v", len(got), asked, err)
		}
		if held != 0 {
			t.Errorf("%d permissions held when all is read", held)
		}
		r.Close()
		if held != 0 {
			t.Errorf("%d permissions held in the end", held)
		}
	})
}
