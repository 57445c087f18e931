// Package job provides the units of work that travel through Kafka: an image to resolve, a layer
// to analyze, and the dead letter that says why one of them was given up.
//
// A job is a reference, a few hundred bytes: it names the work, and everything big is fetched from
// where it lives. The package knows the wire form and nothing of topics, partitions or brokers.
//
// # Keys and partitions
//
// The key of a message is what [Image.Key], [Layer.Key] and [DeadLetter.Key] return. The partition of
// a layer is its shard, a function of its digest alone; the two lanes of one shard have one number.
// The partition of an image is any, as long as one submission stays in one.
//
// Trace context (W3C Trace Context, "traceparent") travels in the headers of a message, never in its value.
package job

import (
	"encoding/json"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
)

// MaxAttempts is how often a job is tried before it is given up, with a [DeadLetter].
const MaxAttempts = 5

// MaxRepositories is the most witnesses that a layer job names.
const MaxRepositories = 4

// Image is the work of resolving one submission: its reference to manifests, those to layers.
type Image struct {
	// Submission is the UUID of the submission, in lower-case canonical form (RFC 9562, section 4).
	// What it refers to is kept where submissions are.
	Submission string
	Lane       Lane
	Attempt    int // how many times it was tried before; 0 for the first try
}

// Key returns the key of the message: the submission.
func (i Image) Key() []byte { return []byte(i.Submission) }

// Layer is the work of analyzing one layer.
type Layer struct {
	// Digest names the blob.
	Digest digest.Digest
	// MediaType is what the manifest says of the blob. It is for people: what a blob is, its bytes tell.
	MediaType string
	// Size is the size of the blob in bytes as the manifest says, or 0 where it does not.
	Size int64
	// Inflated says that Digest is that of the tar inside the blob and not of the blob as transferred.
	Inflated bool
	// Prefix is the directory inside the tar that holds the root file system, or "" for the tar itself.
	Prefix string
	// Repositories are where the blob can be had, the likeliest first, at most [MaxRepositories]. Any of them will do.
	Repositories []string
	Lane         Lane
	Attempt      int // how many times it was tried before; 0 for the first try
	// Term is the term of the leader that sent the job, for the record. 0 where nobody led.
	Term int64
}

// Key returns the key of the message: the digest in text form.
func (l Layer) Key() []byte { return []byte(l.Digest.String()) }

// The kinds of job that a dead letter can be about.
const (
	KindImage = "image"
	KindLayer = "layer"
)

// DeadLetter says that a job was given up, and why.
type DeadLetter struct {
	// Kind is [KindImage] or [KindLayer].
	Kind string
	// Subject names what the job was about: the submission or the digest. It is "" for a job that could not be read.
	Subject string
	// Reason is the error of the last try, for people.
	Reason string
	// FaultKind is the kind of that error by its name, as fault.Kind.String gives it.
	FaultKind string
	// Attempts is how many times the job was tried.
	Attempts int
	// Job is the message as it came; see [Raw]. It is nil where there was none.
	Job json.RawMessage
	// At is when the job was given up, UTC.
	At time.Time
}

// Key returns the key of the message: the subject.
func (d DeadLetter) Key() []byte { return []byte(d.Subject) }
