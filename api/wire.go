package api

import (
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// Submission is a wish to have something scanned, and how far it is.
type Submission struct {
	ID        string     `json:"id" doc:"UUID" format:"uuid"`
	Target    string     `json:"target" doc:"What was asked for"`
	Title     string     `json:"title" doc:"What people call it"`
	State     string     `json:"state" enum:"queued,parked,analyzing,complete,incomplete,failed" doc:"complete: every image has its result. incomplete: the same, and something could not be read. parked: it is tried again at notBefore"`
	Lane      string     `json:"lane" enum:"now,bulk"`
	Created   time.Time  `json:"created"`
	Attempts  int        `json:"attempts" doc:"To find out what the target is, that failed"`
	NotBefore *time.Time `json:"notBefore,omitempty" doc:"When it is tried again"`
	Reference string     `json:"reference,omitempty" doc:"The target in canonical form"`
	Digest    string     `json:"digest,omitempty" doc:"Of the index or manifest that the target points at"`
	Images    []Image    `json:"images" doc:"One for each platform"`
	Skipped   []Skipped  `json:"skipped" doc:"Parts of the index that are no image to scan"`
	Problem   *Problem   `json:"problem,omitempty" doc:"Why the last attempt failed"`
}

// Image says how far one image is.
type Image struct {
	Digest    digest.Digest `json:"digest" doc:"Of the image manifest"`
	Platform  string        `json:"platform" example:"linux/amd64"`
	State     string        `json:"state" enum:"pending,complete,incomplete"`
	Layers    int           `json:"layers"`
	Pending   int           `json:"pending" doc:"Layers still to be analyzed"`
	Bytes     int64         `json:"bytes" doc:"Compressed size of all layers, as far as the manifest tells"`
	BytesRead int64         `json:"bytesRead" doc:"Of these, read"`
	NotBefore *time.Time    `json:"notBefore,omitempty" doc:"When a layer is tried again that could not be read"`
	Problem   *Problem      `json:"problem,omitempty" doc:"Why that could not be read"`
}

// Skipped is a part of an index that is no image to scan.
type Skipped struct {
	Digest   string `json:"digest,omitempty"`
	Platform string `json:"platform,omitempty"`
	Reason   string `json:"reason"`
	Missed   bool   `json:"missed" doc:"It is an image that was wanted and could not be read"`
}

// Problem is why something failed.
type Problem struct {
	Kind   string `json:"kind" example:"not-found"`
	Reason string `json:"reason"`
}

// Done reports whether nothing more will happen to the submission by itself.
func (s *Submission) Done() bool {
	return s.State == StateComplete || s.State == StateIncomplete || s.State == StateFailed
}

// The states of a submission.
const (
	StateQueued     = "queued"
	StateParked     = "parked"
	StateAnalyzing  = "analyzing"
	StateComplete   = "complete"
	StateIncomplete = "incomplete"
	StateFailed     = "failed"
)

// submissionView returns the wire form of a submission.
func submissionView(s *store.Submission) *Submission {
	out := &Submission{
		ID: s.ID, Target: s.Target, Title: s.Title, State: submissionState(s), Lane: s.Lane.String(), Created: s.Created.UTC(),
		Attempts: s.Attempts, Reference: s.Reference, Digest: s.Digest.String(),
		Images: []Image{}, Skipped: []Skipped{},
	}
	if out.Title == "" {
		out.Title = s.Target
	}
	if !s.NotBefore.IsZero() {
		t := s.NotBefore.UTC()
		out.NotBefore = &t
	}
	for _, image := range s.Images {
		out.Images = append(out.Images, imageView(image))
	}
	for _, skipped := range s.Skipped {
		out.Skipped = append(out.Skipped, Skipped{
			Digest: skipped.Digest.String(), Platform: skipped.Platform, Reason: skipped.Reason, Missed: skipped.Missed,
		})
	}
	if s.Problem != nil {
		out.Problem = &Problem{Kind: s.Problem.Kind, Reason: s.Problem.Reason}
	}
	return out
}

func submissionState(s *store.Submission) string {
	switch {
	case s.State == store.Rejected:
		return StateFailed
	case s.State == store.Queued && time.Now().Before(s.NotBefore):
		return StateParked
	case s.State == store.Queued:
		return StateQueued
	case !s.Done():
		return StateAnalyzing
	}
	for _, image := range s.Images {
		if image.State != store.ImageComplete {
			return StateIncomplete
		}
	}
	for _, skipped := range s.Skipped {
		if skipped.Missed {
			return StateIncomplete
		}
	}
	return StateComplete
}

func imageView(p store.ImageProgress) Image {
	out := Image{
		Digest: p.Digest, Platform: p.Platform, State: [...]string{"pending", "complete", "incomplete"}[p.State],
		Layers: p.Layers, Pending: p.Pending, Bytes: p.Bytes, BytesRead: p.BytesRead, NotBefore: timeOrNil(p.NotBefore.UTC()),
	}
	if p.Problem != nil {
		out.Problem = &Problem{Kind: p.Problem.Kind, Reason: p.Problem.Reason}
	}
	return out
}

// Source is a source of advisories and how old its data is.
type Source struct {
	Name      string     `json:"name"`
	Title     string     `json:"title"`
	State     string     `json:"state" enum:"new,current,failed,held" doc:"new: never read. failed: the last run did not succeed. held: a change was held back because it looks wrong"`
	Updated   *time.Time `json:"updated" doc:"When its data last changed here"`
	Checked   *time.Time `json:"checked" doc:"Since when all of it is known to be current"`
	Documents int        `json:"documents" doc:"Documents that were read"`
	Records   int        `json:"records" doc:"Entries in them, as upstream counts"`
	Ranges    int        `json:"ranges" doc:"Affected ranges of versions"`
	Undecided int        `json:"undecided" doc:"Ranges and records that could not be used for comparison"`
	Error     string     `json:"error" doc:"Why the last run did not succeed"`
	Covers    []string   `json:"covers" doc:"Namespaces it speaks for, as patterns"`
	Licence   string     `json:"licence"`
	URL       string     `json:"url"`
}

func sourceView(s store.SourceStatus) Source {
	return Source{
		Name: s.Name, Title: s.Title, State: s.State.String(), Updated: timeOrNil(s.Updated), Checked: timeOrNil(s.Checked),
		Documents: s.Documents, Records: s.Records, Ranges: s.Ranges, Undecided: s.Undecided, Error: s.Error,
		Covers: notNil(s.Covers), Licence: s.Licence, URL: s.URL,
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Cluster is who is there and who does what.
type Cluster struct {
	Leader     string    `json:"leader" doc:"Coordinator that leads; empty where none does"`
	Term       int64     `json:"term"`
	Since      time.Time `json:"since" doc:"When it was elected"`
	Members    []Member  `json:"members"`
	Unassigned int       `json:"unassigned" doc:"Shards that no worker is responsible for"`
	Unowned    int       `json:"unowned" doc:"Shards that no worker has taken"`
	// LagKnown says whether Kafka could be asked.
	LagKnown      bool  `json:"lagKnown" doc:"Whether Kafka told the numbers that follow"`
	LagNow        int64 `json:"lagNow" doc:"Layer jobs not done, of the lane for those who wait"`
	LagBulk       int64 `json:"lagBulk" doc:"Layer jobs not done, of the other"`
	ImagesLagNow  int64 `json:"imagesLagNow" doc:"Submissions not resolved, of the lane for those who wait"`
	ImagesLagBulk int64 `json:"imagesLagBulk" doc:"Submissions not resolved, of the other"`
	EtcdHealthy   bool  `json:"etcdHealthy"`
}

// Member is one process of the cluster.
type Member struct {
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	Roles    []string `json:"roles"`
	Capacity int      `json:"capacity" doc:"Layers analyzed at once"`
	Load     int      `json:"load" doc:"Layers being analyzed"`
	Version  string   `json:"version"`
	Shards   int      `json:"shards" doc:"That it has taken"`
}

// Status is the state of the service.
type Status struct {
	Version   string    `json:"version"`
	Cluster   Cluster   `json:"cluster"`
	Backlog   Backlog   `json:"backlog"`
	Rates     []Rate    `json:"rates"`
	Attention Attention `json:"attention"`
	Budgets   []Budget  `json:"budgets"`
	Totals    Totals    `json:"totals"`
}

// Backlog is what is to be done.
type Backlog struct {
	SubmissionsQueued int        `json:"submissionsQueued" doc:"Parked ones included"`
	SubmissionsParked int        `json:"submissionsParked"`
	SubmissionsFailed int        `json:"submissionsFailed" doc:"Given up"`
	ImagesPending     int        `json:"imagesPending" doc:"That wait for layers"`
	LayersUnsent      int        `json:"layersUnsent" doc:"Parked ones included"`
	LayersParked      int        `json:"layersParked"`
	LayersSent        int        `json:"layersSent" doc:"With the workers"`
	LayersFailed      int        `json:"layersFailed" doc:"Given up"`
	Oldest            *time.Time `json:"oldest" doc:"When the submission was made that waits longest to be resolved"`
}

// Totals is what the database holds, roughly.
type Totals struct {
	Images      int64 `json:"images"`
	Layers      int64 `json:"layers"`
	Inventories int64 `json:"inventories"`
	Packages    int64 `json:"packages"`
	Releases    int64 `json:"releases"`
	Advisories  int64 `json:"advisories"`
	Ranges      int64 `json:"ranges"`
	Findings    int64 `json:"findings"`
	Bytes       int64 `json:"bytes"`
}

// notNil makes an absent list an empty one, which is what it is in JSON.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
