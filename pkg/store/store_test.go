package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/distro"
	"github.com/trawl-scanner/trawl/pkg/embedded/embeddedtest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/report"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// term is the leader's in these tests.
const term = 7

// openStore returns a Store on a database of its own, in which a leader has taken office.
func openStore(tb testing.TB) *Store {
	tb.Helper()
	dsn := embeddedtest.PostgresFrom(tb, "store", func(dsn string) error {
		s, err := Open(context.Background(), Config{DSN: dsn})
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Migrate(context.Background())
	})
	s, err := Open(tb.Context(), Config{DSN: dsn})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	if err := s.TakeOffice(tb.Context(), term); err != nil {
		tb.Fatal(err)
	}
	return s
}

// blob returns the digest of a made-up blob.
func blob(name string) digest.Digest { return digest.SHA256([]byte(name)) }

// digests returns the digests of made-up blobs.
func digests(names ...string) []digest.Digest {
	out := make([]digest.Digest, len(names))
	for i, name := range names {
		out[i] = blob(name)
	}
	return out
}

// submissionID returns a made-up id.
func submissionID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

// submit submits targets and resolves each to one image of the same name with the named layers.
func submit(tb testing.TB, s *Store, n int, image string, lane job.Lane, layers ...string) Dispatch {
	tb.Helper()
	err := s.Submit(tb.Context(), []Submission{{ID: submissionID(n), Target: image, Lane: lane}})
	if err != nil {
		tb.Fatal(err)
	}
	dispatch, err := s.RecordResolutions(tb.Context(), term, 1, []Resolution{resolution(n, image, lane, layers...)})
	if err != nil {
		tb.Fatal(err)
	}
	return dispatch
}

func resolution(n int, image string, lane job.Lane, layers ...string) Resolution {
	r := Resolution{
		Submission: submissionID(n), Reference: "registry.example/" + image, Repository: "registry.example/app", Digest: blob(image), Lane: lane,
	}
	resolved := ResolvedImage{Digest: blob(image), Platform: "linux/amd64"}
	for _, layer := range layers {
		resolved.Layers = append(resolved.Layers, job.Layer{Digest: blob(layer), Size: 1000})
	}
	r.Images = []ResolvedImage{resolved}
	return r
}

// names returns the layers of a dispatch, given by the names they were made of.
func names(dispatch []job.Layer, known ...string) []string {
	var out []string
	for _, layer := range dispatch {
		name := layer.Digest.String()
		for _, k := range known {
			if blob(k) == layer.Digest {
				name = k
			}
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

var bookworm = distro.Distribution{ID: "debian", VersionID: "12", Codename: "bookworm", Pretty: "Debian GNU/Linux 12 (bookworm)"}

// debianLayer returns a layer of Debian 12 with the packages, each "name version".
func debianLayer(packages ...string) *inventory.Layer {
	db := inventory.Database{Path: "var/lib/dpkg/status", Kind: inventory.Deb}
	for _, p := range packages {
		name, v, _ := strings.Cut(p, " ")
		db.Packages = append(db.Packages, inventory.Package{
			Kind: inventory.Deb, Name: name, Version: v, Arch: "amd64", SourceName: name, SourceVersion: v,
		})
	}
	return &inventory.Layer{
		Releases:  []inventory.ReleaseFile{{Path: "etc/os-release", Distribution: bookworm}},
		Databases: []inventory.Database{db},
	}
}

// analyzed is the result of an attempt that went well.
func analyzed(layer string, content *inventory.Layer) LayerResult {
	return LayerResult{Digest: blob(layer), Extractor: 1, Content: content, RawBytes: 5000}
}

func commitLayers(tb testing.TB, s *Store, results ...LayerResult) Committed {
	tb.Helper()
	out, err := s.CommitLayers(tb.Context(), results)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func readReport(tb testing.TB, s *Store, image string) *report.Report {
	tb.Helper()
	r, err := s.Report(tb.Context(), blob(image))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// debianFeed returns a feed that says of bookworm "package id fixed-version" each; "-" as version is no fix.
func debianFeed(version_ string, lines ...string) FeedContent {
	return FeedContent{
		Source: "debian", URL: "https://tracker.example/json", Validator: version_, Checksum: blob(version_ + strings.Join(lines, "\n")).Bytes(),
		Records: records(lines...),
	}
}

func records(lines ...string) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		for _, line := range lines {
			f := strings.Fields(line)
			if f[0] == "bad" {
				if !yield(advisory.Record{}, &advisory.BadRecord{Subject: f[1], Reason: "made up"}) {
					return
				}
				continue
			}
			r := advisory.Range{Namespace: "debian:12", Scheme: version.Dpkg, Name: f[0], Status: advisory.Fixed, Fixed: f[2], Severity: advisory.High}
			switch f[2] {
			case "-":
				r.Fixed, r.Status = "", advisory.Affected
			case "open":
				r.Fixed, r.Status = "", advisory.UnderInvestigation
			case "never":
				r.Fixed, r.Status = "", advisory.NotAffected
			}
			if !yield(advisory.Record{ID: f[1], Description: "About " + f[1], Affected: []advisory.Range{r}}, nil) {
				return
			}
		}
	}
}

func applyFeed(tb testing.TB, s *Store, content FeedContent) Delta {
	tb.Helper()
	delta, err := s.ApplyFeed(tb.Context(), content)
	if err != nil {
		tb.Fatal(err)
	}
	return delta
}

func registerDebian(tb testing.TB, s *Store) {
	tb.Helper()
	err := s.RegisterSources(tb.Context(), []advisory.Source{{Name: "debian", Covers: []string{"debian:*"}}})
	if err != nil {
		tb.Fatal(err)
	}
}

// found lists the findings of a report as "package id fixed".
func found(r *report.Report) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, strings.TrimSpace(f.Package+" "+f.ID+" "+f.Fixed))
	}
	slices.Sort(out)
	return out
}

func TestMigrateIsIdempotent(t *testing.T) {
	s := openStore(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestOpenUnreachable(t *testing.T) {
	_, err := Open(t.Context(), Config{DSN: "host=/nonexistent user=trawl dbname=trawl"})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a database that is away is %v (%v), want unavailable", fault.KindOf(err), err)
	}
	_, err = Open(t.Context(), Config{DSN: "postgres://a b c"})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("an address that is none is %v (%v), want invalid", fault.KindOf(err), err)
	}
}

func TestLifeOfAnImage(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	applyFeed(t, s, debianFeed("1", "zlib CVE-2022-37434 1:1.2.13", "zlib CVE-2018-25032 1:1.2.11", "perl CVE-2023-31484 -"))

	dispatch := submit(t, s, 1, "app", job.Now, "base", "top")
	if got := names(dispatch.Send, "base", "top"); !slices.Equal(got, []string{"base", "top"}) {
		t.Fatalf("to be analyzed: %v, want base and top", got)
	}
	if r := dispatch.Send[0].Repositories; !slices.Equal(r, []string{"registry.example/app"}) {
		t.Errorf("witnesses %v", r)
	}
	if r := readReport(t, s, "app"); r.State != report.Pending || r.Coverage.Status != report.NotYetRead {
		t.Errorf("before analysis: %s, %s", r.State, r.Coverage.Status)
	}
	if done := commitLayers(t, s, analyzed("base", debianLayer("zlib 1:1.2.12", "perl 5.36"))); len(done.Images) != 0 {
		t.Errorf("completed with a layer missing: %+v", done.Images)
	}
	sub, err := s.Submission(t.Context(), submissionID(1))
	if err != nil || sub.Done() || sub.Images[0].Pending != 1 || sub.Images[0].BytesRead != 1000 {
		t.Errorf("half way: %+v, %v", sub, err)
	}
	done := commitLayers(t, s, analyzed("top", &inventory.Layer{}))
	if len(done.Images) != 1 || done.Images[0].State != ImageComplete || done.Releases != 2 || done.Findings != 2 {
		t.Errorf("completion: %+v", done)
	}
	r := readReport(t, s, "app")
	if diff := cmp.Diff([]string{"perl CVE-2023-31484", "zlib CVE-2022-37434 1:1.2.13"}, found(r)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if r.State != report.Complete || r.Coverage.Status != report.Covered || r.Distribution.Namespace != "debian:12" || r.Summary.Packages != 2 {
		t.Errorf("report: %s %s %+v %+v", r.State, r.Coverage.Status, r.Distribution, r.Summary)
	}
	if r.Packages[1].Layer != blob("base") || r.Findings[0].Layer != blob("base") {
		t.Error("packages are attributed to the layer that brought them")
	}
	if sub, err = s.Submission(t.Context(), submissionID(1)); err != nil || !sub.Done() {
		t.Errorf("at the end: %+v, %v", sub, err)
	}

	t.Run("a second image of known layers asks for one job, to be completed", func(t *testing.T) {
		dispatch := submit(t, s, 2, "same", job.Bulk, "base", "top")
		if got := names(dispatch.Send, "base", "top"); !slices.Equal(got, []string{"top"}) {
			t.Fatalf("sent %v, want the top layer", got)
		}
		done := commitLayers(t, s, LayerResult{Digest: blob("top"), Extractor: 1})
		if len(done.Images) != 1 || done.Releases != 0 {
			t.Errorf("completion: %+v", done)
		}
		if diff := cmp.Diff(found(r), found(readReport(t, s, "same"))); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the same image again asks for nothing", func(t *testing.T) {
		if dispatch := submit(t, s, 3, "app", job.Now, "base", "top"); len(dispatch.Send) != 0 {
			t.Errorf("sent %v", names(dispatch.Send, "base", "top"))
		}
		if sub, err := s.Submission(t.Context(), submissionID(3)); err != nil || !sub.Done() {
			t.Errorf("%+v, %v", sub, err)
		}
	})
	t.Run("a newer extractor analyzes again and keeps the old result meanwhile", func(t *testing.T) {
		if err := s.Submit(t.Context(), []Submission{{ID: submissionID(4), Target: "app"}}); err != nil {
			t.Fatal(err)
		}
		dispatch, err := s.RecordResolutions(t.Context(), term, 2, []Resolution{resolution(4, "app", job.Now, "base", "top")})
		if err != nil || len(dispatch.Send) != 2 {
			t.Fatalf("sent %d, %v; want both", len(dispatch.Send), err)
		}
		if r := readReport(t, s, "app"); r.State != report.Complete || len(r.Findings) != 2 {
			t.Errorf("meanwhile: %s with %d findings", r.State, len(r.Findings))
		}
		for _, layer := range []string{"base", "top"} {
			result := analyzed(layer, debianLayer("zlib 1:1.2.13"))
			result.Extractor = 2
			commitLayers(t, s, result)
		}
		if got := found(readReport(t, s, "app")); len(got) != 0 {
			t.Errorf("afterwards: %v", got)
		}
	})
}

func TestEmptyLayersAndImages(t *testing.T) {
	s := openStore(t)
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(1), Target: "a"}, {ID: submissionID(2), Target: "b"}}); err != nil {
		t.Fatal(err)
	}
	hollow := resolution(1, "hollow", job.Now)
	hollow.Images[0].Layers = []job.Layer{{Digest: digest.Empty[0]}, {Digest: digest.Empty[1]}}
	dispatch, err := s.RecordResolutions(t.Context(), term, 1, []Resolution{hollow, resolution(2, "nothing", job.Now)})
	if err != nil {
		t.Fatal(err)
	}
	if len(dispatch.Send) != 1 || dispatch.Send[0].Digest != digest.Empty[1] {
		t.Fatalf("sent %v, want the top one to complete the image", dispatch.Send)
	}
	commitLayers(t, s, LayerResult{Digest: digest.Empty[1], Extractor: 1})
	for _, image := range []string{"hollow", "nothing"} {
		if r := readReport(t, s, image); r.State != report.Complete || r.Coverage.Status != report.NoPackages {
			t.Errorf("%s: %s, %s", image, r.State, r.Coverage.Status)
		}
	}
}

func TestLastLayersAtOnce(t *testing.T) {
	s := openStore(t)
	const images = 20
	for n := range images {
		submit(t, s, n, fmt.Sprint("image", n), job.Bulk, fmt.Sprint("a", n), fmt.Sprint("b", n))
	}
	var all sync.WaitGroup
	for _, side := range []string{"a", "b"} {
		all.Go(func() {
			for n := range images {
				if _, err := s.CommitLayers(t.Context(), []LayerResult{analyzed(fmt.Sprint(side, n), debianLayer(fmt.Sprintf("zlib %d", n)))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for n := range images {
		if r := readReport(t, s, fmt.Sprint("image", n)); r.State != report.Complete || len(r.Packages) != 1 {
			t.Errorf("image %d: %s with %d packages", n, r.State, len(r.Packages))
		}
	}
}

func TestManyImagesWaitForOneLayer(t *testing.T) {
	s := openStore(t)
	const images = 2*completionLimit + 10
	var batch []Resolution
	var subs []Submission
	for n := range images {
		subs = append(subs, Submission{ID: submissionID(n), Target: "x"})
		batch = append(batch, resolution(n, fmt.Sprint("image", n), job.Bulk, "base"))
	}
	if err := s.Submit(t.Context(), subs); err != nil {
		t.Fatal(err)
	}
	dispatch, err := s.RecordResolutions(t.Context(), term, 1, batch)
	if err != nil || len(dispatch.Send) != 1 {
		t.Fatalf("sent %d layers, %v; want one for all images", len(dispatch.Send), err)
	}
	done := commitLayers(t, s, analyzed("base", debianLayer("zlib 1")))
	if len(done.Images) != images || done.Releases != 1 {
		t.Errorf("completed %d images with %d releases, want %d and 1", len(done.Images), done.Releases, images)
	}
}

func TestFailedLayer(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "app", job.Now, "base", "top")
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1")))
	away := LayerResult{Digest: blob("top"), Extractor: 1, Problem: &Problem{Kind: "unavailable", Reason: "registry away"}, Retry: true}
	for attempt := 1; attempt < job.MaxAttempts; attempt++ {
		away.Attempt = attempt - 1
		if done := commitLayers(t, s, away); len(done.Images)+len(done.Dead) != 0 {
			t.Fatalf("attempt %d: %+v", attempt, done)
		}
		layers, _, err := s.UnsentLayers(t.Context(), time.Hour, 10)
		if err != nil || len(layers) != 1 || layers[0].Attempt != attempt {
			t.Fatalf("attempt %d: to be sent again %+v, %v", attempt, layers, err)
		}
	}
	away.Attempt = job.MaxAttempts - 1
	done := commitLayers(t, s, away)
	if done.Dead[blob("top")] != job.MaxAttempts || len(done.Images) != 1 || done.Images[0].State != ImageIncomplete {
		t.Fatalf("the last attempt: %+v", done)
	}
	r := readReport(t, s, "app")
	want := []report.Failed{{Layer: blob("top"), Kind: "unavailable", Reason: "registry away"}}
	if diff := cmp.Diff(want, r.Coverage.Failed); diff != "" || r.State != report.Incomplete || len(r.Packages) != 1 {
		t.Errorf("%s with %d packages; failed (-want +got):\n%s", r.State, len(r.Packages), diff)
	}

	t.Run("asked again it is tried again", func(t *testing.T) {
		dispatch := submit(t, s, 2, "app", job.Now, "base", "top")
		if got := names(dispatch.Send, "base", "top"); !slices.Equal(got, []string{"top"}) {
			t.Fatalf("sent %v", got)
		}
		commitLayers(t, s, analyzed("top", &inventory.Layer{}))
		if r := readReport(t, s, "app"); r.State != report.Complete || len(r.Coverage.Failed) != 0 {
			t.Errorf("%s, failed %v", r.State, r.Coverage.Failed)
		}
	})
}

func TestParkedLayerIsNotSent(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "app", job.Now, "base")
	commitLayers(t, s, LayerResult{Digest: blob("base"), Extractor: 1, Problem: &Problem{Kind: "rate-limited"}, Retry: true, Delay: time.Hour})
	if layers, _, err := s.UnsentLayers(t.Context(), 0, 10); err != nil || len(layers) != 0 {
		t.Errorf("sent before its time: %v, %v", layers, err)
	}
	if dispatch := submit(t, s, 2, "other", job.Now, "base", "top"); !slices.Equal(names(dispatch.Send, "base", "top"), []string{"top"}) {
		t.Errorf("another image must not shorten the wait: %v", names(dispatch.Send, "base", "top"))
	}
	if b, err := s.Backlog(t.Context()); err != nil || b.LayersParked != 1 || b.ImagesPending != 2 {
		t.Errorf("backlog %+v, %v", b, err)
	}
}

func TestNowOvertakesBulk(t *testing.T) {
	s := openStore(t)
	bulk := submit(t, s, 1, "slow", job.Bulk, "base")
	if err := s.MarkLayersSent(t.Context(), term, time.Now(), []digest.Digest{bulk.Send[0].Digest}); err != nil {
		t.Fatal(err)
	}
	if again := submit(t, s, 2, "slower", job.Bulk, "base"); len(again.Send) != 0 {
		t.Error("a layer that is under way must not be sent again")
	}
	now := submit(t, s, 3, "fast", job.Now, "base")
	if len(now.Send) != 1 || now.Send[0].Lane != job.Now {
		t.Errorf("a layer that waits in the bulk lane must be sent in the fast one: %+v", now.Send)
	}
}

func TestSweep(t *testing.T) {
	s := openStore(t)
	dispatch := submit(t, s, 1, "app", job.Bulk, "base", "top")
	unsent := func(overdue time.Duration) []string {
		layers, _, err := s.UnsentLayers(t.Context(), overdue, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range layers {
			if !slices.Equal(layer.Repositories, []string{"registry.example/app"}) || layer.Size != 1000 {
				t.Errorf("job %+v", layer)
			}
		}
		return names(layers, "base", "top")
	}
	if got := unsent(time.Hour); !slices.Equal(got, []string{"base", "top"}) {
		t.Errorf("never sent: %v", got)
	}
	if err := s.MarkLayersSent(t.Context(), term, time.Now(), []digest.Digest{dispatch.Send[0].Digest, dispatch.Send[1].Digest}); err != nil {
		t.Fatal(err)
	}
	if got := unsent(time.Hour); len(got) != 0 {
		t.Errorf("just sent: %v", got)
	}
	if got := unsent(0); !slices.Equal(got, []string{"base", "top"}) {
		t.Errorf("overdue: %v", got)
	}
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(9), Target: "later", Lane: job.Now}}); err != nil {
		t.Fatal(err)
	}
	images, _, err := s.UnsentSubmissions(t.Context(), time.Hour, 10)
	if err != nil || len(images) != 1 || images[0].Submission != submissionID(9) || images[0].Lane != job.Now {
		t.Errorf("unsent submissions %+v, %v", images, err)
	}
	if err := s.MarkSubmissionsSent(t.Context(), time.Now(), []string{submissionID(9)}); err != nil {
		t.Fatal(err)
	}
	if images, _, err := s.UnsentSubmissions(t.Context(), time.Hour, 10); err != nil || len(images) != 0 {
		t.Errorf("sent: %+v, %v", images, err)
	}
}

func TestPostpone(t *testing.T) {
	s := openStore(t)
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(1), Target: "a", Platforms: []string{"linux/amd64"}}, {ID: submissionID(2), Target: "b"}}); err != nil {
		t.Fatal(err)
	}
	err := s.Postpone(t.Context(), term, []Postponement{
		{ID: submissionID(1), Attempts: 1, Problem: &Problem{Kind: "rate-limited", Reason: "429"}, Delay: time.Hour},
		{ID: submissionID(2), Problem: &Problem{Kind: "not-found", Reason: "no such tag"}, Reject: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	parked, err := s.Submission(t.Context(), submissionID(1))
	if err != nil || parked.Done() || parked.Attempts != 1 || parked.Problem.Reason != "429" || time.Until(parked.NotBefore) < 50*time.Minute {
		t.Errorf("parked: %+v, %v", parked, err)
	}
	rejected, err := s.Submission(t.Context(), submissionID(2))
	if err != nil || !rejected.Done() || rejected.State != Rejected {
		t.Errorf("rejected: %+v, %v", rejected, err)
	}
	if queued, err := s.QueuedSubmissions(t.Context(), []string{submissionID(1), submissionID(2)}); err != nil || len(queued) != 0 {
		t.Errorf("neither is to be resolved now: %+v, %v", queued, err)
	}
	if _, err := s.Submission(t.Context(), submissionID(3)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown: %v", err)
	}
}

func TestFence(t *testing.T) {
	s := openStore(t)
	if err := s.TakeOffice(t.Context(), term+1); err != nil {
		t.Fatal(err)
	}
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(1), Target: "a"}}); err != nil {
		t.Fatal(err)
	}
	_, err := s.RecordResolutions(t.Context(), term, 1, []Resolution{resolution(1, "a", job.Now, "base")})
	if !errors.Is(err, ErrFenced) {
		t.Errorf("the write of a leader of the past: %v, want ErrFenced", err)
	}
	if err := s.TakeOffice(t.Context(), term); !errors.Is(err, ErrFenced) {
		t.Errorf("the office of the past: %v, want ErrFenced", err)
	}
	if _, err := s.RecordResolutions(t.Context(), term+1, 1, []Resolution{resolution(1, "a", job.Now, "base")}); err != nil {
		t.Error(err)
	}
}

func TestDelta(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	submit(t, s, 1, "app", job.Now, "base")
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1:1.2.12", "perl 5.36", "odd not_a_version")))

	for _, step := range []struct {
		name   string
		feed   FeedContent
		delta  Delta
		found  []string
		opened int
	}{
		{
			"the first reading",
			debianFeed("1", "zlib CVE-1 1:1.2.13", "zlib CVE-2 1:1.2.12", "perl CVE-3 -", "perl CVE-4 open", "perl CVE-5 never", "odd CVE-6 1.0", "bad zlib/CVE-7"),
			Delta{Records: 6, Ranges: 6, Added: 6, Findings: 2, Bad: 1, BadNamed: []advisory.BadRecord{{Subject: "zlib/CVE-7", Reason: "made up"}}},
			[]string{"perl CVE-3", "zlib CVE-1 1:1.2.13"}, 2,
		},
		{
			"the same again is known by its checksum",
			debianFeed("1", "zlib CVE-1 1:1.2.13", "zlib CVE-2 1:1.2.12", "perl CVE-3 -", "perl CVE-4 open", "perl CVE-5 never", "odd CVE-6 1.0", "bad zlib/CVE-7"),
			Delta{Unchanged: true}, []string{"perl CVE-3", "zlib CVE-1 1:1.2.13"}, 2,
		},
		{
			"a fix, a withdrawal, a new one, one decided, one broken",
			debianFeed("2", "zlib CVE-1 1:1.2.13", "zlib CVE-8 1:1.3", "perl CVE-3 5.37", "perl CVE-4 -", "perl CVE-5 never", "odd CVE-6 1.0", "perl CVE-9 not_a_version"),
			Delta{Records: 7, Ranges: 7, Added: 3, Removed: 2, Changed: 1, Findings: 3, Withdrawn: 1, Changes: 3},
			[]string{"perl CVE-3 5.37", "perl CVE-4", "zlib CVE-1 1:1.2.13", "zlib CVE-8 1:1.3"}, 2,
		},
		{"nothing left", debianFeed("3"), Delta{Removed: 7, Withdrawn: 4, Changes: 4}, []string{}, 1},
	} {
		t.Run(step.name, func(t *testing.T) {
			if diff := cmp.Diff(step.delta, applyFeed(t, s, step.feed)); diff != "" {
				t.Errorf("delta (-want +got):\n%s", diff)
			}
			r := readReport(t, s, "app")
			if diff := cmp.Diff(step.found, found(r)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(r.Coverage.Undecided) != step.opened {
				t.Errorf("undecided: %+v, want %d", r.Coverage.Undecided, step.opened)
			}
		})
	}
	t.Run("advisories nobody lists are gone", func(t *testing.T) {
		var n int
		if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM advisory`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d advisories left, %v", n, err)
		}
	})
}

func TestFeedHeldBack(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	var lines []string
	for n := range 2 * shrinkFloor {
		lines = append(lines, fmt.Sprintf("zlib CVE-%d 2", n))
	}
	applyFeed(t, s, debianFeed("1", lines...))
	_, err := s.ApplyFeed(t.Context(), debianFeed("2", lines[:shrinkFloor]...))
	if !errors.Is(err, ErrHeldBack) {
		t.Fatalf("half of the feed gone: %v, want ErrHeldBack", err)
	}
	if err := s.FeedFailed(t.Context(), "debian", "https://tracker.example/json", err); err != nil {
		t.Fatal(err)
	}
	feeds, err := s.Feeds(t.Context(), "debian")
	if f := feeds["https://tracker.example/json"]; err != nil || f.State != FeedHeld || f.Ranges != 2*shrinkFloor || f.Validator != "1" {
		t.Errorf("feed %+v, %v", f, err)
	}
	accepted := debianFeed("2", lines[:shrinkFloor]...)
	accepted.AcceptShrink = true
	if delta := applyFeed(t, s, accepted); delta.Removed != shrinkFloor {
		t.Errorf("delta %+v", delta)
	}
}

func TestBrokenFeedChangesNothing(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	applyFeed(t, s, debianFeed("1", "zlib CVE-1 2", "zlib CVE-2 2"))
	broken := debianFeed("2", "zlib CVE-1 3")
	whole := broken.Records
	broken.Records = func(yield func(advisory.Record, error) bool) {
		for r, err := range whole {
			if !yield(r, err) {
				return
			}
		}
		yield(advisory.Record{}, fault.Newf(fault.Corrupt, "parse", "feed", "cut off"))
	}
	if _, err := s.ApplyFeed(t.Context(), broken); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("got %v", err)
	}
	statuses, err := s.SourceStatuses(t.Context())
	if err != nil || statuses[0].Ranges != 2 || statuses[0].Documents != 1 {
		t.Errorf("status %+v, %v", statuses, err)
	}
}

// TestCorrelationFromBothSides lets workers bring releases and an updater bring ranges at once, and holds
// what is found against a join of everything afterwards.
func TestCorrelationFromBothSides(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	const images, feeds, names = 60, 12, 5
	for n := range images {
		submit(t, s, n, fmt.Sprint("image", n), job.Bulk, fmt.Sprint("layer", n))
	}
	var all sync.WaitGroup
	for side := range 3 {
		all.Go(func() {
			for n := side; n < images; n += 3 {
				var packages []string
				for name := range names {
					packages = append(packages, fmt.Sprintf("p%d 1.%d", name, n))
				}
				if _, err := s.CommitLayers(t.Context(), []LayerResult{analyzed(fmt.Sprint("layer", n), debianLayer(packages...))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for f := range feeds {
			var lines []string
			for name := range names {
				for id := range f + 1 {
					lines = append(lines, fmt.Sprintf("p%d CVE-%d 1.%d", name, id, 5*id+f%3))
				}
			}
			if _, err := s.ApplyFeed(t.Context(), debianFeed(fmt.Sprint(f), lines...)); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	var missing, extra, total int
	err := s.pool.QueryRow(t.Context(), `
		WITH truth AS (
			SELECT r.id AS release_id, a.id AS affected_id FROM release r JOIN affected a USING (namespace_id, name)
			WHERE a.introduced_key <= r.key AND r.key < a.fixed_key)
		SELECT (SELECT count(*) FROM (TABLE truth EXCEPT TABLE finding) x), (SELECT count(*) FROM (TABLE finding EXCEPT TABLE truth) x),
			(SELECT count(*) FROM truth)`).Scan(&missing, &extra, &total)
	if err != nil || missing+extra > 0 || total == 0 {
		t.Errorf("%d findings are missing and %d too many, of %d; %v", missing, extra, total, err)
	}
}

func TestCoverage(t *testing.T) {
	s := openStore(t)
	for n, c := range []struct {
		name   string
		distro distro.Distribution
		want   report.CoverageStatus
		note   string
	}{
		{"nothing registered", bookworm, report.NoSource, "no source of advisories covers debian:12"},
		{"registered and not read", bookworm, report.NotYetRead, "run trawl update"},
		{"read", bookworm, report.Covered, "debian:12"},
		{"read, and silent about the release", distro.Distribution{ID: "debian", VersionID: "7"}, report.NoSource, "debian lists nothing for debian:7"},
		{"a distribution without a source", distro.Distribution{ID: "raspbian", VersionID: "11"}, report.NoSource, "no source of advisories covers raspbian:11"},
		{"no distribution", distro.Distribution{}, report.NoDistribution, "nothing in the image tells its distribution"},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch n {
			case 1:
				registerDebian(t, s)
			case 2:
				applyFeed(t, s, debianFeed("1", "zlib CVE-1 2"))
			}
			layer := debianLayer(fmt.Sprintf("zlib %d", n))
			layer.Releases = nil
			if !c.distro.IsZero() {
				layer.Releases = []inventory.ReleaseFile{{Path: "etc/os-release", Distribution: c.distro}}
			}
			submit(t, s, n, c.name, job.Now, c.name)
			commitLayers(t, s, analyzed(c.name, layer))
			r := readReport(t, s, c.name)
			if r.Coverage.Status != c.want || !strings.Contains(r.Coverage.Note, c.note) {
				t.Errorf("%s: %s, want %s: …%s…", r.Coverage.Status, r.Coverage.Note, c.want, c.note)
			}
		})
	}
}

func TestProgressAndAnalyzed(t *testing.T) {
	s := openStore(t)
	submit(t, s, 1, "app", job.Now, "base", "top")
	if err := s.Progress(t.Context(), map[digest.Digest]int64{blob("base"): 400, blob("unknown"): 1}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Image(t.Context(), blob("app"))
	if err != nil || p.Bytes != 2000 || p.BytesRead != 400 || p.Pending != 2 {
		t.Errorf("progress %+v, %v", p, err)
	}
	commitLayers(t, s, analyzed("base", debianLayer("zlib 1")))
	known, err := s.Analyzed(t.Context(), 1, []digest.Digest{blob("base"), blob("top")})
	if err != nil || !known[blob("base")] || known[blob("top")] {
		t.Errorf("analyzed %v, %v", known, err)
	}
	if known, err := s.Analyzed(t.Context(), 2, []digest.Digest{blob("base")}); err != nil || len(known) != 0 {
		t.Errorf("by another extractor: %v, %v", known, err)
	}
	images, target, err := s.ImagesOf(t.Context(), "registry.example/app")
	if err != nil || len(images) != 1 || target != blob("app") {
		t.Errorf("by reference: %+v %v, %v", images, target, err)
	}
}
