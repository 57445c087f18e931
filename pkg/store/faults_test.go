package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// noise returns text that no compression makes shorter than half.
func noise(bytes int) string {
	b := make([]byte, bytes/2)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// TestHostileText holds that text of strangers is stored, whatever is in it: a registry that writes NUL into a
// platform must not keep the images beside it from being recorded.
func TestHostileText(t *testing.T) {
	s := openStore(t)
	err := s.Submit(t.Context(), []Submission{{ID: submissionID(1), Target: "app", Title: "a\x00b\xff"}})
	if err != nil {
		t.Fatal(err)
	}
	r := resolution(1, "app", job.Now, "base")
	r.Images[0].Platform = "li\x00nux/amd\xff"
	r.Images[0].Layers[0].MediaType = "application/\x00"
	r.Skipped = []Skipped{{Platform: "a\x00", Reason: "\x00\xff"}}
	if _, err := s.RecordResolutions(t.Context(), term, 1, []Resolution{r}); err != nil {
		t.Fatal(err)
	}
	sub, err := s.Submission(t.Context(), submissionID(1))
	if err != nil || sub.Title != "a\uFFFDb\uFFFD" || sub.Images[0].Platform != "li\uFFFDnux/amd\uFFFD" || sub.Skipped[0].Reason != "\uFFFD\uFFFD" {
		t.Errorf("%+v, %v", sub, err)
	}
	registerDebian(t, s)
	cause := errors.New("upstream says \x00\xff")
	if err := errors.Join(s.FeedFailed(t.Context(), "debian", "https://a.example/", cause), s.EndRun(t.Context(), "debian", time.Now(), cause)); err != nil {
		t.Error(err)
	}
}

// TestHugeSizes holds that sizes which a manifest makes up do no harm to whoever looks at the image.
func TestHugeSizes(t *testing.T) {
	s := openStore(t)
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(1), Target: "app"}}); err != nil {
		t.Fatal(err)
	}
	r := resolution(1, "app", job.Now, "a", "b", "c")
	for i := range r.Images[0].Layers {
		r.Images[0].Layers[i].Size = math.MaxInt64
	}
	if _, err := s.RecordResolutions(t.Context(), term, 1, []Resolution{r}); err != nil {
		t.Fatal(err)
	}
	sub, err := s.Submission(t.Context(), submissionID(1))
	if err != nil || sub.Images[0].Bytes != math.MaxInt64 {
		t.Errorf("%+v, %v", sub, err)
	}
}

// TestImageThatCannotBeStored holds that an image of which Postgres refuses the packages is told apart from the others,
// and gets a result that says so, whichever of its layers comes last.
func TestImageThatCannotBeStored(t *testing.T) {
	s := openStore(t)
	const others = 3
	submit(t, s, 0, "bad", job.Now, "poison", "shared")
	for n := range others {
		submit(t, s, 1+n, fmt.Sprint("good", n), job.Now, fmt.Sprint("own", n), "shared")
	}
	commitLayers(t, s, analyzed("poison", debianLayer("zlib 1")))
	if _, err := s.pool.Exec(t.Context(), `UPDATE layer SET content = 'what no program wrote' WHERE digest = $1`, blob("poison").Bytes()); err != nil {
		t.Fatal(err)
	}
	for n := range others {
		commitLayers(t, s, analyzed(fmt.Sprint("own", n), debianLayer(fmt.Sprint("zlib ", n))))
	}
	done := commitLayers(t, s, analyzed("shared", &inventory.Layer{}))
	if len(done.Images) != 1+others || len(done.Dead) != 0 {
		t.Fatalf("%+v, want all images", done)
	}
	for n := range others {
		if r := readReport(t, s, fmt.Sprint("good", n)); r.State != report.Complete || len(r.Packages) != 1 {
			t.Errorf("image %d: %s with %d packages", n, r.State, len(r.Packages))
		}
	}
	r := readReport(t, s, "bad")
	if r.State != report.Incomplete || len(r.Coverage.Failed) != 1 || r.Coverage.Failed[0].Kind != "corrupt" {
		t.Errorf("%s, failed %+v", r.State, r.Coverage.Failed)
	}
	if sub, err := s.Submission(t.Context(), submissionID(0)); err != nil || !sub.Done() {
		t.Errorf("%+v, %v", sub, err)
	}
}

// TestPackageTooLongToStore holds that a package made up to be longer than an index takes is named, and the others of
// its image are stored.
func TestPackageTooLongToStore(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "app", job.Now, "base")
	layer := debianLayer("zlib 1", "long 1")
	p := &layer.Databases[0].Packages[1]
	p.Name, p.Version, p.Arch = noise(1000), noise(1000), noise(1000)
	commitLayers(t, s, analyzed("base", layer))
	r := readReport(t, s, "app")
	if r.State != report.Incomplete || len(r.Packages) != 1 || len(r.Coverage.Failed) != 1 || r.Coverage.Failed[0].Kind != "too-large" {
		t.Errorf("%s, %d packages, failed %+v", r.State, len(r.Packages), r.Coverage.Failed)
	}
}

// TestCommitTwice holds that a commit which is made again, because its answer was lost or what came after it failed, counts
// an attempt once.
func TestCommitTwice(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "app", job.Now, "base")
	result := LayerResult{Digest: blob("base"), Extractor: 1, Problem: &Problem{Kind: "unavailable"}, Retry: true}
	for range 3 {
		commitLayers(t, s, result)
	}
	layers, _, err := s.UnsentLayers(t.Context(), time.Hour, 10)
	if err != nil || len(layers) != 1 || layers[0].Attempt != 1 {
		t.Fatalf("after one attempt: %+v, %v", layers, err)
	}
	result.Attempt = job.MaxAttempts - 1
	for range 2 {
		if done := commitLayers(t, s, result); done.Dead[blob("base")] != job.MaxAttempts {
			t.Errorf("the last attempt: %+v", done)
		}
	}

	t.Run("a submission", func(t *testing.T) {
		if err := s.Submit(t.Context(), []Submission{{ID: submissionID(2), Target: "x"}}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := s.Postpone(t.Context(), term, []Postponement{{ID: submissionID(2), Attempts: 1, Problem: &Problem{}}}); err != nil {
				t.Fatal(err)
			}
		}
		if sub, err := s.Submission(t.Context(), submissionID(2)); err != nil || sub.Attempts != 1 {
			t.Errorf("%+v, %v", sub, err)
		}
	})
}

// TestRateLimitedIsNoAttempt holds that being told to come back later is no failure: a registry's limit of pulls lasts
// for hours.
func TestRateLimitedIsNoAttempt(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "app", job.Now, "base")
	for attempt := range 3 * job.MaxAttempts {
		done := commitLayers(t, s, LayerResult{
			Digest: blob("base"), Extractor: 1, Problem: &Problem{Kind: fault.RateLimited.String()}, Retry: true,
		})
		if len(done.Dead) != 0 {
			t.Fatalf("given up after %d", attempt)
		}
	}
	layers, _, err := s.UnsentLayers(t.Context(), time.Hour, 10)
	if err != nil || len(layers) != 1 || layers[0].Attempt != 0 {
		t.Errorf("%+v, %v", layers, err)
	}
}

// TestAnsweredBeforeMarked holds that a job which is answered before it is noted that it was sent counts as answered: else
// it would be waited for until it is overdue.
func TestAnsweredBeforeMarked(t *testing.T) {
	s := openStore(t)
	dispatch := submit(t, s, 1, "app", job.Now, "base")
	commitLayers(t, s, LayerResult{Digest: blob("base"), Extractor: 1, Problem: &Problem{Kind: "unavailable"}, Retry: true})
	if err := s.MarkLayersSent(t.Context(), term, dispatch.AsOf, digests("base")); err != nil {
		t.Fatal(err)
	}
	layers, asOf, err := s.UnsentLayers(t.Context(), time.Hour, 10)
	if err != nil || len(layers) != 1 {
		t.Fatalf("to be sent again: %v, %v", layers, err)
	}
	if err := s.MarkLayersSent(t.Context(), term, asOf, digests("base")); err != nil {
		t.Fatal(err)
	}
	if layers, _, err := s.UnsentLayers(t.Context(), time.Hour, 10); err != nil || len(layers) != 0 {
		t.Errorf("sent, and to be sent again: %v, %v", layers, err)
	}

	t.Run("a submission", func(t *testing.T) {
		if err := s.Submit(t.Context(), []Submission{{ID: submissionID(2), Target: "x"}}); err != nil {
			t.Fatal(err)
		}
		sub, err := s.Submission(t.Context(), submissionID(2))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Postpone(t.Context(), term, []Postponement{{ID: sub.ID, Attempts: 1, Problem: &Problem{}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.MarkSubmissionsSent(t.Context(), sub.Created, []string{sub.ID}); err != nil {
			t.Fatal(err)
		}
		if images, _, err := s.UnsentSubmissions(t.Context(), time.Hour, 10); err != nil || len(images) != 1 {
			t.Errorf("to be sent again: %v, %v", images, err)
		}
	})
}

// TestUnsentCompletion holds that an image whose layers are all known is completed soon although the leader that recorded
// it died before it sent the job: it must not wait until a job that was never sent is overdue.
func TestUnsentCompletion(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "first", job.Now, "base")
	if err := s.MarkLayersSent(t.Context(), term, time.Now(), digests("base")); err != nil {
		t.Fatal(err)
	}
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1")))
	for n, image := range []string{"second", "third"} {
		submit(t, s, 2+n, image, job.Now, "base")
		layers, _, err := s.UnsentLayers(t.Context(), time.Hour, 10)
		if got := names(layers, "base"); err != nil || !slices.Equal(got, []string{"base"}) {
			t.Fatalf("%s: to be sent: %v, %v", image, got, err)
		}
		if err := s.MarkLayersSent(t.Context(), term, time.Now(), digests("base")); err != nil {
			t.Fatal(err)
		}
		if layers, _, err := s.UnsentLayers(t.Context(), time.Hour, 10); err != nil || len(layers) != 0 {
			t.Fatalf("%s: sent, and to be sent again: %v, %v", image, names(layers, "base"), err)
		}
		commitLayers(t, s, LayerResult{Digest: blob("base"), Extractor: 1})
	}
}

// TestUnstorableRecord holds that a record which is too long for an index is counted and named, and stops no other.
func TestUnstorableRecord(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	long := noise(3000)
	delta := applyFeed(t, s, debianFeed("1", "zlib CVE-1 2", long+" CVE-2 2", "zlib "+long+" 2", "zlib CVE-3 1"+strings.ToLower(long), "zlib CVE-4 2"))
	if delta.Added != 2 || delta.Bad != 3 || len(delta.BadNamed) != 3 {
		t.Fatalf("%+v", delta)
	}
	for _, bad := range delta.BadNamed {
		if len(bad.Error()) > 500 {
			t.Errorf("a bad record is named at length: %d bytes", len(bad.Error()))
		}
	}
}

func TestRequestRun(t *testing.T) {
	s := openStore(t)
	err := s.RegisterSources(t.Context(), []advisory.Source{{Name: "debian"}, {Name: "alpine"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ask, want []string
		kind      fault.Kind
	}{
		{nil, []string{"alpine", "debian"}, fault.Unknown},
		{[]string{}, []string{"alpine", "debian"}, fault.Unknown},
		{[]string{"debian"}, []string{"debian"}, fault.Unknown},
		{[]string{"debian", "nobody"}, nil, fault.NotFound},
	} {
		got, err := s.RequestRun(t.Context(), c.ask)
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" || fault.KindOf(err) != c.kind {
			t.Errorf("%q: %v (-want +got):\n%s", c.ask, err, diff)
		}
	}
}

// TestKinds holds what the answers of Postgres mean.
func TestKinds(t *testing.T) {
	s := openStore(t)
	for _, c := range []struct {
		statement string
		want      fault.Kind
	}{
		{`SELECT * FROM nowhere`, fault.Unknown}, // another version of the schema: may pass
		{`SELECT 1/0`, fault.Invalid},
		{`SELECT convert_from('\x00', 'UTF8')`, fault.Invalid},
		{`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '54000'; END $$`, fault.TooLarge},
		{`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$`, fault.Conflict},
		{`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$`, fault.Unavailable},
		{`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '25006'; END $$`, fault.Unavailable}, // a standby
		{`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42501'; END $$`, fault.Unauthorized},
		{`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX001'; END $$`, fault.Corrupt},
	} {
		_, err := s.pool.Exec(t.Context(), c.statement)
		if got := fault.KindOf(s.wrap("test", err)); got != c.want {
			t.Errorf("%s: %v, want %v (%v)", c.statement, got, c.want, err)
		}
	}
	if kind := fault.KindOf(s.wrap("test", errBug("made up"))); kind != fault.Corrupt {
		t.Errorf("broken invariants are %v", kind)
	}
}

func TestOpenWhatIsNotThere(t *testing.T) {
	s := openStore(t)
	config := s.pool.Config().ConnConfig
	_, err := Open(t.Context(), Config{DSN: fmt.Sprintf("host=%s port=%d user=%s dbname=nowhere", config.Host, config.Port, config.User)})
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a database that does not exist: %v (%v)", err, fault.KindOf(err))
	}
	_, err = Open(t.Context(), Config{DSN: fmt.Sprintf("host=%s port=%d user=nobody dbname=%s", config.Host, config.Port, config.Database)})
	if fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a user that does not exist: %v (%v)", err, fault.KindOf(err))
	}
	if s.pool.Config().ConnConfig.ConnectTimeout == 0 {
		t.Error("connecting may take for ever")
	}
}

// TestCanceledApply holds that a feed whose reading is given up has changed nothing, and that the next reading succeeds.
func TestCanceledApply(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	applyFeed(t, s, debianFeed("1", "zlib CVE-1 2"))
	ctx, cancel := context.WithCancel(t.Context())
	content := debianFeed("2", "zlib CVE-1 3", "zlib CVE-2 3")
	whole := content.Records
	content.Records = func(yield func(advisory.Record, error) bool) {
		for r, err := range whole {
			cancel()
			if !yield(r, err) {
				return
			}
		}
	}
	if _, err := s.ApplyFeed(ctx, content); fault.KindOf(err) != fault.Canceled {
		t.Fatalf("%v (%v)", err, fault.KindOf(err))
	}
	if st, err := s.SourceStatuses(t.Context()); err != nil || st[0].Ranges != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if delta := applyFeed(t, s, debianFeed("2", "zlib CVE-1 3", "zlib CVE-2 3")); delta.Added != 2 || delta.Removed != 1 {
		t.Errorf("%+v", delta)
	}
}

// TestStandstill: a leader that stands still in the middle of a write, because it is paused or cut off, does not keep its
// successor from office.
func TestStandstill(t *testing.T) {
	s := openStore(t)
	var timeout string
	if err := s.pool.QueryRow(t.Context(), "SHOW "+idleSetting).Scan(&timeout); err != nil || timeout != idleTimeout {
		t.Errorf("%s is %q, %v", idleSetting, timeout, err)
	}
	hasty, err := Open(t.Context(), Config{DSN: s.pool.Config().ConnString() + "&" + idleSetting + "=100ms"})
	if err != nil {
		t.Fatal(err)
	}
	defer hasty.Close()
	begun, resume, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- hasty.writeAs(t.Context(), term, "stand still", func(tx pgx.Tx) error {
			close(begun)
			<-resume
			_, err := tx.Exec(t.Context(), `INSERT INTO repository (location) VALUES ('late')`)
			return err
		})
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.TakeOffice(ctx, term+1); err != nil {
		t.Errorf("the successor: %v", err)
	}
	close(resume)
	if err := <-ended; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the write of the leader that stood still: %v", err)
	}
	var late int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM repository`).Scan(&late); err != nil || late != 0 {
		t.Errorf("it wrote %d rows, %v", late, err)
	}
}

// TestRunThatDied holds that a run whose process died was none: it is due, and what asked for it still does.
func TestRunThatDied(t *testing.T) {
	s := openStore(t)
	if err := s.RegisterSources(t.Context(), []advisory.Source{{Name: "debian"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RequestRun(t.Context(), []string{"debian"}); err != nil {
		t.Fatal(err)
	}
	status := func() SourceStatus {
		list, err := s.SourceStatuses(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("%d sources, %v", len(list), err)
		}
		return list[0]
	}
	began, err := s.BeginRun(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st := status(); !st.RunAt.IsZero() || st.Requested.IsZero() {
		t.Errorf("begun: run at %v, requested %v", st.RunAt, st.Requested)
	}
	if err := s.EndRun(t.Context(), "debian", began, nil); err != nil {
		t.Fatal(err)
	}
	if st := status(); st.RunAt.IsZero() || !st.Requested.IsZero() {
		t.Errorf("ended: run at %v, requested %v", st.RunAt, st.Requested)
	}
}
