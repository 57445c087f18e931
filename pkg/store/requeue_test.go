package store

import (
	"slices"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// failing makes a database with three images, of which two have a layer that was given up, and two submissions that were.
func failing(t *testing.T) *Store {
	t.Helper()
	s := openStore(t)
	submit(t, s, 1, "good", job.Bulk, "base")
	submit(t, s, 2, "poor", job.Bulk, "base", "poison")
	submit(t, s, 3, "late", job.Bulk, "poison", "other")
	commitLayers(t, s, analyzed("base", debianLayer("zlib1g 1.2")),
		LayerResult{Digest: blob("poison"), Extractor: 1, Problem: &Problem{Kind: "corrupt", Reason: "gzip: invalid checksum"}},
		LayerResult{Digest: blob("other"), Extractor: 1, Problem: &Problem{Kind: "not-found", Reason: "no such blob"}})
	for n, reason := range map[int]string{4: "unauthorized: log in", 5: "no such tag"} {
		if err := s.Submit(t.Context(), []Submission{{ID: submissionID(n), Target: "docker.io/library/app:" + reason[:2]}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Postpone(t.Context(), term, []Postponement{{ID: submissionID(n), Attempts: 5, Problem: &Problem{Kind: "unknown", Reason: reason}, Reject: true}}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// named returns what matters are about, as the tests call it.
func named(matters []Matter) (out []string) {
	for _, m := range matters {
		name := m.Submission
		for _, n := range []string{"base", "poison", "other"} {
			if m.Layer == blob(n) {
				name = n
			}
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func TestRequeue(t *testing.T) {
	for _, c := range []struct {
		name                string
		filter              Requeue
		submissions, layers []string
	}{
		{"all", Requeue{All: true}, []string{submissionID(4), submissionID(5)}, []string{"other", "poison"}},
		{"one layer", Requeue{Digests: digests("poison")}, nil, []string{"poison"}},
		{"the layers of an image", Requeue{Digests: digests("late")}, nil, []string{"other", "poison"}},
		{"a reference that was resolved", Requeue{References: []string{"registry.example/poor"}}, nil, []string{"poison"}},
		{"a reference that was not", Requeue{References: []string{"docker.io/library/app:no"}}, []string{submissionID(5)}, nil},
		{"a reason", Requeue{Reason: "NO SUCH"}, []string{submissionID(5)}, []string{"other"}},
		{"a reason with a wildcard is none", Requeue{Reason: "no%such"}, nil, nil},
		{"what did not fail", Requeue{Digests: digests("good", "base")}, nil, nil},
		{"one of each at most", Requeue{All: true, Limit: 1}, []string{submissionID(4)}, []string{"poison"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := failing(t)
			for _, dry := range []bool{true, false} {
				c.filter.DryRun = dry
				submissions, layers, err := s.Requeue(t.Context(), c.filter)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(named(submissions), c.submissions) || !slices.Equal(named(layers), c.layers) {
					t.Errorf("%v and %v, want %v and %v", named(submissions), named(layers), c.submissions, c.layers)
				}
			}
			images, _, err := s.UnsentSubmissions(t.Context(), time.Hour, 10)
			if err != nil || len(images) != len(c.submissions) {
				t.Errorf("%d submissions are to be sent: %v (%v)", len(images), images, err)
			}
			jobs, _, err := s.UnsentLayers(t.Context(), time.Hour, 10)
			if err != nil || !slices.Equal(names(jobs, "poison", "other"), c.layers) {
				t.Errorf("layers to be sent: %v (%v)", names(jobs, "poison", "other"), err)
			}
			for _, j := range jobs {
				if j.Attempt != 0 || len(j.Repositories) == 0 {
					t.Errorf("%+v", j)
				}
			}
		})
	}
	s := failing(t)
	if _, _, err := s.Requeue(t.Context(), Requeue{DryRun: true}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a filter that says nothing: %v", err)
	}
}

// TestRequeueCompletes follows a layer that is tried again: the image keeps its result until it has a better one.
func TestRequeueCompletes(t *testing.T) {
	s := failing(t)
	state := func(image string) ImageState {
		t.Helper()
		p, err := s.Image(t.Context(), blob(image))
		if err != nil {
			t.Fatal(err)
		}
		return p.State
	}
	if _, _, err := s.Requeue(t.Context(), Requeue{All: true}); err != nil {
		t.Fatal(err)
	}
	if got := state("poor"); got != ImageIncomplete {
		t.Errorf("the last result is gone: %v", got)
	}
	commitLayers(t, s, analyzed("poison", debianLayer("zlib1g 1.3")))
	if state("poor") != ImageComplete || state("late") != ImageIncomplete {
		t.Errorf("poor %v, late %v", state("poor"), state("late"))
	}
	commitLayers(t, s, analyzed("other", debianLayer()))
	if state("late") != ImageComplete {
		t.Errorf("late %v", state("late"))
	}
}

func TestAttention(t *testing.T) {
	s := failing(t)
	submit(t, s, 6, "slow", job.Bulk, "slow")
	commitLayers(t, s, LayerResult{Digest: blob("slow"), Extractor: 1, Problem: &Problem{Kind: "rate-limited", Reason: "429"}, Retry: true, Delay: time.Hour})
	submit(t, s, 7, "stuck", job.Now, "stuck")
	if err := s.MarkLayersSent(t.Context(), term, time.Now(), []digest.Digest{blob("stuck")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(t.Context(), `UPDATE layer SET sent_at = now() - interval '11 minutes' WHERE state = 1`); err != nil {
		t.Fatal(err)
	}
	a, err := s.Attention(t.Context(), 10*time.Minute, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Failed) != 3 || a.SubmissionsFailed != 2 {
		t.Errorf("failed: %+v, %d submissions", a.Failed, a.SubmissionsFailed)
	}
	if len(a.Parked) != 1 || a.Parked[0].Layer != blob("slow") || a.Parked[0].Problem.Reason != "429" || time.Until(a.Parked[0].Until) < 50*time.Minute {
		t.Errorf("parked: %+v", a.Parked)
	}
	if len(a.Stuck) != 1 || a.Stuck[0].Layer != blob("stuck") || a.Stuck[0].Target != "registry.example/app" || a.Stuck[0].Lane != job.Now {
		t.Errorf("stuck: %+v", a.Stuck)
	}
	rates, err := s.Rates(t.Context(), time.Minute, time.Hour)
	if err != nil || len(rates) != 2 || rates[0] != (Done{Images: 3, Layers: 1}) || rates[0] != rates[1] {
		t.Errorf("rates: %+v (%v)", rates, err)
	}
}
