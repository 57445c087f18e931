package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// resolveTag resolves one reference to an image of the named layer.
func resolveTag(t *testing.T, s *Store, n int, reference, image, layer string) {
	t.Helper()
	if err := s.Submit(t.Context(), []Submission{{ID: submissionID(n), Target: reference}}); err != nil {
		t.Fatal(err)
	}
	r := resolution(n, image, job.Bulk, layer)
	r.Reference = reference
	if _, err := s.RecordResolutions(t.Context(), term, 1, []Resolution{r}); err != nil {
		t.Fatal(err)
	}
}

func TestTagMoves(t *testing.T) {
	s := openStore(t)
	registerDebian(t, s)
	applyFeed(t, s, debianFeed("1", "zlib CVE-1 1.6", "zlib CVE-2 9", "perl CVE-3 9", "curl CVE-4 9"))
	const reference = "registry.example/app:1"
	resolveTag(t, s, 1, reference, "old", "old layer")
	commitLayers(t, s, analyzed("old layer", debianLayer("zlib 1.5", "perl 5")))
	resolveTag(t, s, 2, reference, "old", "old layer")
	if n, err := s.CompareMoves(t.Context(), term, 10); err != nil || n != 0 {
		t.Errorf("nothing moved, and %d compared, %v", n, err)
	}
	resolveTag(t, s, 3, reference, "new", "new layer")
	if n, err := s.CompareMoves(t.Context(), term, 10); err != nil || n != 0 {
		t.Errorf("the new image has no result, and %d compared, %v", n, err)
	}
	commitLayers(t, s, analyzed("new layer", debianLayer("zlib 1.7", "curl 8")))
	if n, err := s.CompareMoves(t.Context(), term, 10); err != nil || n != 1 {
		t.Errorf("%d compared, %v", n, err)
	}
	changes, err := s.TagChanges(t.Context(), reference, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		what := "new"
		if c.Gone {
			what = "gone"
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", what, c.Package, c.Installed, c.Advisory))
		if c.Old != blob("old") || c.New != blob("new") || c.Platform != "linux/amd64" {
			t.Errorf("change %+v", c)
		}
	}
	want := []string{"new curl 8 CVE-4", "gone perl 5 CVE-3", "gone zlib 1.5 CVE-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if n, err := s.CompareMoves(t.Context(), term, 10); err != nil || n != 0 {
		t.Errorf("%d compared a second time, %v", n, err)
	}
}

func TestWatches(t *testing.T) {
	s := openStore(t)
	const reference = "registry.example/app:1"
	if err := s.PutWatch(t.Context(), Watch{Reference: reference, Every: time.Hour, Platforms: []string{"linux/arm64"}}); err != nil {
		t.Fatal(err)
	}
	due, err := s.DueWatches(t.Context(), 10)
	if err != nil || len(due) != 1 || due[0].Reference != reference || due[0].Every != time.Hour || !due[0].Digest.IsZero() {
		t.Fatalf("due %+v, %v", due, err)
	}
	err = s.NoteWatched(t.Context(), term, []Watched{{Reference: reference, Submission: &Submission{ID: submissionID(1), Target: reference}}})
	if err != nil {
		t.Fatal(err)
	}
	if due, err := s.DueWatches(t.Context(), 10); err != nil || len(due) != 0 {
		t.Errorf("looked at, and due %+v, %v", due, err)
	}
	if sub, err := s.Submission(t.Context(), submissionID(1)); err != nil || sub.Target != reference {
		t.Errorf("submission %+v, %v", sub, err)
	}
	away := fault.Newf(fault.Unavailable, "ask", "registry", "away")
	if err := s.NoteWatched(t.Context(), term, []Watched{{Reference: reference, Err: away, Delay: time.Nanosecond}}); err != nil {
		t.Fatal(err)
	}
	list, err := s.Watches(t.Context(), "", 10)
	if err != nil || len(list) != 1 || list[0].Error != away.Error() || list[0].Checked.IsZero() {
		t.Errorf("watches %+v, %v", list, err)
	}
	if err := s.RemoveWatch(t.Context(), reference); err != nil {
		t.Error(err)
	}
	if err := s.RemoveWatch(t.Context(), reference); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removed twice: %v", err)
	}
}
