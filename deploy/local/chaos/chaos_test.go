package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/deploy/local"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

var (
	duration = flag.Duration("duration", 45*time.Second, "how long members are killed, paused and cut off")
	seed     = flag.Uint64("seed", 0, "number that makes images and schedule; 0 takes one by the clock")
	images   = flag.Int("images", 0, "how many images; 0 makes 300 in the first two minutes, and 5,000 in ten")
	keep     = flag.Bool("keep", false, "keep the cluster's directory, which is printed")
	binary   = flag.String("binary", "", "the program; default is to build it")
)

// settle is how long the work that is left may take when everybody is well again: what could not be read is parked for up to
// 25 s after its second failure, and the machine may be busy.
const settle = 4 * time.Minute

// bases is how many sets of base layers the images share.
const bases = 10

// TestChaos: whoever is killed, paused or cut off while images are submitted and advisories change, everything is done in the end,
// once, and as it would have been in peace.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: it takes two minutes")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	if *images == 0 {
		*images = max(100, min(5000, int(5000*duration.Seconds()/600)))
	}
	t.Logf("make chaos DURATION=%s SEED=%d ARGS='-images %d' repeats this schedule", *duration, *seed, *images)
	w := newWorld(t)
	w.begin()

	began := time.Now()
	blows := plan(*seed, *duration, kinds(w.names(local.Coordinator), w.names(local.Worker), w.names(local.Updater), w.names(local.API)))
	versions := 1 + max(2, int(duration.Seconds()/20))
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return strike(ctx, w.cluster, blows, w.log) })
	g.Go(func() error { return w.submitAll(ctx, blows) })
	g.Go(func() error { return w.publish(ctx, versions, *duration) })
	w.check(g.Wait())
	ended := time.Now()
	w.finish()
	t.Logf("%d images, %d blows in %.0f s, %d versions of the advisories; all done %.1f s after the last blow",
		*images, len(blows), ended.Sub(began).Seconds(), versions, time.Since(ended).Seconds())
	got := w.content()

	w.startAnew("calm")
	w.begin()
	began = time.Now()
	w.check(w.submitAll(t.Context(), nil))
	w.finish()
	w.check(w.publish(t.Context(), versions, 0))
	t.Logf("in peace all of it takes %.1f s", time.Since(began).Seconds())
	want := w.content()
	if diff := Diff(want, got); diff != "" {
		t.Errorf("what the database holds is not what it holds after a calm run (-calm +chaos):\n%s", diff)
	}
	for subject, rows := range want {
		if len(rows) == 0 && subject != "undecided" {
			t.Errorf("no %s, so that nothing was compared", subject)
		}
	}
}

// world is a cluster and what is done with it.
type world struct {
	t          *testing.T
	cluster    *local.Cluster
	mirror     *mirror
	log        *slog.Logger
	references []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// Not t.TempDir: its name is too long for a socket, and the account of PostgreSQL may not enter it.
	dir, err := os.MkdirTemp("", "trawl-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	if *keep {
		t.Logf("everything is in %s", dir)
	} else {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	w := &world{t: t, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	w.mirror = &mirror{dir: filepath.Join(dir, "mirror"), log: w.log}
	if _, err := w.mirror.put(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	w.cluster, err = local.Start(ctx, local.Config{
		Dir: filepath.Join(dir, "c"), Binary: *binary, Scratch: true, Relays: true,
		Coordinators: 2, Workers: 3, APIs: 2, Updaters: 2, Notifiers: -1,
		Arguments: map[string][]string{
			local.Updater:     {"--mirror", w.mirror.dir, "--sources", "debian"},
			local.Worker:      {"--layers", "4"},
			local.Coordinator: {"--resolving", "16"},
		},
	})
	if fault.KindOf(err) == fault.NotFound {
		t.Skipf("SKIPPED, something that a cluster needs is not installed (make deps): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	w.mirror.cluster = w.cluster
	w.references, err = w.cluster.Push(ctx, local.Load{Images: *images, Bases: bases, Seed: *seed})
	w.check(err)
	return w
}

// check ends the test for an error, and says what the cluster was doing.
func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, stuck(context.WithoutCancel(w.t.Context()), w.cluster))
	}
}

// begin waits until the cluster is at work, and knows the packages of all bases and the first advisories: what changes for
// these does not depend on what is first from then on.
func (w *world) begin() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), settle)
	defer cancel()
	_, err := w.cluster.Settled(ctx)
	w.check(err)
	w.check(submit(ctx, w.cluster, w.wishes(nil)[:2*bases]))
	w.check(done(ctx, w.cluster.Servers().Postgres, 2*bases))
	w.check(w.mirror.publish(ctx, 1))
}

func (w *world) wishes(blows []Blow) []wish { return wishes(*seed, w.references, blows) }

// submitAll submits all images in the course of a schedule, or at once where there is none.
func (w *world) submitAll(ctx context.Context, blows []Blow) error {
	ctx, cancel := context.WithTimeout(ctx, *duration+settle)
	defer cancel()
	return submit(ctx, w.cluster, w.wishes(blows))
}

// publish publishes the versions of the advisories from the second on, each after the one before was read.
func (w *world) publish(ctx context.Context, versions int, over time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, over+settle)
	defer cancel()
	began := time.Now()
	for version := 2; version <= versions; version++ {
		if !wait(ctx, time.Until(began.Add(over*time.Duration(version-1)/time.Duration(versions)))) {
			return context.Cause(ctx)
		}
		if err := w.mirror.publish(ctx, version); err != nil {
			return err
		}
	}
	return nil
}

// finish waits until no work is left.
func (w *world) finish() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), settle)
	defer cancel()
	w.check(done(ctx, w.cluster.Servers().Postgres, len(w.wishes(nil))))
}

// content returns what the database holds, which has to obey the laws.
func (w *world) content() Content {
	w.t.Helper()
	dsn := w.cluster.Servers().Postgres
	found, err := broken(w.t.Context(), dsn)
	w.check(err)
	for _, one := range found {
		w.t.Error(one)
	}
	if len(found) > 0 {
		w.t.Log(stuck(w.t.Context(), w.cluster))
	}
	content, err := ReadContent(w.t.Context(), dsn)
	w.check(err)
	return content
}

// startAnew starts the roles on an empty database.
func (w *world) startAnew(database string) {
	w.t.Helper()
	var failed []error
	var names []string
	for _, a := range w.cluster.Addresses() {
		if slices.Contains(local.Roles, a.Role) {
			names = append(names, a.Name)
		}
	}
	stopped := make(chan error)
	for _, name := range names {
		go func() { stopped <- w.cluster.Stop(name) }()
	}
	for range names {
		failed = append(failed, <-stopped)
	}
	_, err := w.mirror.put(1)
	failed = append(failed, err, w.cluster.UseDatabase(w.t.Context(), database))
	for _, name := range names {
		failed = append(failed, w.cluster.Restart(w.t.Context(), name))
	}
	w.check(errors.Join(failed...))
}

func (w *world) names(role string) []string {
	var out []string
	for _, a := range w.cluster.Addresses() {
		if a.Role == role {
			out = append(out, a.Name)
		}
	}
	return out
}

// TestTracker: each version of the advisories is another, and none is so much smaller than the one before that it would be held back.
func TestTracker(t *testing.T) {
	before := 0
	seen := make(map[string]int)
	for version := 1; version <= 31; version++ {
		text, err := tracker(version)
		if err != nil {
			t.Fatal(err)
		}
		if same, ok := seen[fmt.Sprint(len(text), string(text))]; ok {
			t.Errorf("version %d is version %d", version, same)
		}
		seen[fmt.Sprint(len(text), string(text))] = version
		if len(text) < before*3/4 {
			t.Errorf("version %d has %d bytes, and the one before %d", version, len(text), before)
		}
		before = len(text)
	}
}

// TestWithout: rows are compared as often as they are there.
func TestWithout(t *testing.T) {
	for _, test := range []struct{ a, b, want []string }{
		{nil, nil, nil},
		{[]string{"a", "a", "b"}, []string{"a", "c"}, []string{"a", "b"}},
		{[]string{"b"}, []string{"a", "b", "b"}, nil},
	} {
		if got := without(test.a, test.b); !slices.Equal(got, test.want) {
			t.Errorf("%q without %q: %q, want %q", test.a, test.b, got, test.want)
		}
	}
}
