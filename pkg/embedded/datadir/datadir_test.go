package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/embedded/internal/crashtest"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/leaktest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestMain(m *testing.M) {
	os.Exit(crashtest.Main(m, map[string]func(context.Context, []string) error{
		"own": func(ctx context.Context, args []string) error {
			l, err := Acquire(ctx, args[0], false)
			if err != nil {
				return err
			}
			if err := l.Announce("http://127.0.0.1:6060"); err != nil {
				return err
			}
			fmt.Println("owns", args[0])
			<-ctx.Done()
			return l.Release()
		},
	}))
}

// TestOwned: another process owns the directory; it is named, then killed, and the directory is free.
func TestOwned(t *testing.T) {
	leaktest.Check(t)
	dir := filepath.Join(t.TempDir(), "data")
	child := crashtest.Start(t, "own", dir)
	child.Await("owns")

	_, err := Acquire(t.Context(), dir, false)
	var owned *OwnedError
	if !errors.As(err, &owned) || owned.Owner == nil || fault.KindOf(err) != fault.Conflict {
		t.Fatalf("kind %v: %v", fault.KindOf(err), err)
	}
	o := owned.Owner
	if o.PID != child.PID() || o.API != "http://127.0.0.1:6060" || !strings.HasSuffix(o.Command, dir) || time.Since(o.Since) > time.Minute {
		t.Errorf("owner: %+v", o)
	}
	says := regexp.MustCompile(`^take ownership of \S+: in use by ".*datadir\.test \S+" \(process \d+ on \S+, since \S+Z, API at http://127.0.0.1:6060\)$`)
	if !says.MatchString(err.Error()) {
		t.Errorf("error: %s", err)
	}
	if got, err := OwnerOf(dir); err != nil || got != *o {
		t.Errorf("OwnerOf: %+v, %v", got, err)
	}

	got := make(chan error)
	go func() {
		l, err := Acquire(t.Context(), dir, true)
		if err == nil {
			err = l.Release()
		}
		got <- err
	}()
	child.Kill()
	if err := <-got; err != nil {
		t.Errorf("waiting for a killed owner: %v", err)
	}
}

// TestKilledOwner: what a killed owner left blocks nobody, and is not taken for the truth.
func TestKilledOwner(t *testing.T) {
	dir := t.TempDir()
	child := crashtest.Start(t, "own", dir)
	child.Await("owns")
	child.Kill()
	_ = child.End()
	if _, err := os.Stat(filepath.Join(dir, ownerName)); err != nil {
		t.Fatalf("it left nothing: %v", err)
	}
	if o, err := OwnerOf(dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("OwnerOf: %+v, %v", o, err)
	}
	l, err := Acquire(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := OwnerOf(dir); err != nil || o != l.Owner() || o.PID != os.Getpid() {
		t.Errorf("OwnerOf: %+v, %v", o, err)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(l.Release(), l.Release()); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := l.Announce("x"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Announce after Release: %v", err)
	}
	if _, err := OwnerOf(dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("OwnerOf after Release: %v", err)
	}
}

func TestNeverOwned(t *testing.T) {
	if _, err := OwnerOf(t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}

// TestWaitEnds: whoever waits in vain is told for whom.
func TestWaitEnds(t *testing.T) {
	dir := t.TempDir()
	l, err := Acquire(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	_, err = Acquire(ctx, dir, true)
	var owned *OwnedError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &owned) || owned.Owner == nil || fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v", err)
	}
}

// TestSilentOwner: a lock is held by someone of whom owner.json does not tell.
func TestSilentOwner(t *testing.T) {
	dir := t.TempDir()
	l, err := Acquire(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for _, content := range []string{"", "{", `{"pid": -1}`, `{"pid": 1073741824, "command": "gone"}`} {
		if err := os.WriteFile(filepath.Join(dir, ownerName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Acquire(t.Context(), dir, false)
		var owned *OwnedError
		if !errors.As(err, &owned) || owned.Owner != nil {
			t.Errorf("%q: %v", content, err)
		}
		if _, err := OwnerOf(dir); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q: OwnerOf: %v", content, err)
		}
	}
}

// TestOneAtATime lets many race for a directory, while others look who owns it.
func TestOneAtATime(t *testing.T) {
	leaktest.Check(t)
	dir := t.TempDir()
	var owners, turns atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				l, err := Acquire(t.Context(), dir, true)
				if err != nil {
					t.Error(err)
					return
				}
				if n := owners.Add(1); n != 1 {
					t.Errorf("%d owners", n)
				}
				turns.Add(1)
				owners.Add(-1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				if _, err := OwnerOf(dir); err != nil && fault.KindOf(err) != fault.NotFound {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if turns.Load() != 20 {
		t.Errorf("%d turns", turns.Load())
	}
}

// TestLookDisturbsNobody: whoever wants the directory, without waiting, gets it however often others
// look whose it is.
func TestLookDisturbsNobody(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = OwnerOf(dir)
		}
	})
	for range 200 {
		l, err := Acquire(t.Context(), dir, false)
		if err != nil {
			t.Error(err)
			break
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}

// TestNumberOfAnother: a killed owner's number is another process's by now.
func TestNumberOfAnother(t *testing.T) {
	dir := t.TempDir()
	l, err := Acquire(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadFile(filepath.Join(dir, ownerName))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ownerName), left, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OwnerOf(dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
	if l, err = Acquire(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	l.Release()
}

// TestOwnerFormat pins owner.json.
func TestOwnerFormat(t *testing.T) {
	o := Owner{PID: 7, Host: "laptop", Command: "trawl serve", API: "http://127.0.0.1:6060", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	got, err := json.Marshal(o)
	const want = `{"pid":7,"host":"laptop","command":"trawl serve","api":"http://127.0.0.1:6060","since":"2026-01-02T03:04:05Z"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}
