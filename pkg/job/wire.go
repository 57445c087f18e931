package job

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Version is the number "v" that every message carries. The wire form is one JSON object.
//
// Compatibility: a field may be added under the same number, and readers ignore fields that they do
// not know; a field is never renamed, given another meaning, or its name used again. A change that an
// older reader would misread raises the number: that reader answers [fault.Unsupported], and its
// consumer puts the message on the dead letters instead of guessing. Readers read all lower numbers.
//
// History: 1 is the first.
const Version = 1

// Bounds of the wire form, in bytes. They are far above what honest jobs need, and keep a hostile
// one from costing memory or hiding in a log.
const (
	MaxBytes           = 64 << 10  // of an image or layer message
	MaxDeadLetterBytes = 256 << 10 // of a dead letter, which quotes the message
	maxRepositoryBytes = 1 << 10
	maxPrefixBytes     = 4 << 10
	maxMediaTypeBytes  = 255 // RFC 6838, section 4.2: 127 for each part
	maxReasonBytes     = 4 << 10
	maxSubjectBytes    = 1 << 10
	maxQuoteBytes      = 4 << 10 // of a message that is not JSON, quoted in a dead letter
)

type imageWire struct {
	V          int64  `json:"v"`
	Submission string `json:"submission"`
	Lane       Lane   `json:"lane"`
	Attempt    int    `json:"attempt,omitempty"`
}

type layerWire struct {
	V            int64         `json:"v"`
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType,omitempty"`
	Size         int64         `json:"size,omitempty"`
	Inflated     bool          `json:"inflated,omitempty"`
	Prefix       string        `json:"prefix,omitempty"`
	Repositories []string      `json:"repositories"`
	Lane         Lane          `json:"lane"`
	Attempt      int           `json:"attempt,omitempty"`
	Term         int64         `json:"term,omitempty"`
}

type deadLetterWire struct {
	V         int64           `json:"v"`
	Kind      string          `json:"kind"`
	Subject   string          `json:"subject,omitempty"`
	Reason    string          `json:"reason"`
	FaultKind string          `json:"faultKind"`
	Attempts  int             `json:"attempts"`
	Job       json.RawMessage `json:"job,omitempty"`
	At        time.Time       `json:"at"`
}

// Encode returns the value of the message. It refuses with [fault.Invalid] what [DecodeImage] would.
func (i Image) Encode() ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, fault.New(fault.Invalid, "encode image job", clip(i.Submission), err)
	}
	return encode("encode image job", MaxBytes, imageWire{Version, i.Submission, i.Lane, i.Attempt})
}

// DecodeImage reads the value of a message. Errors: [fault.Unsupported] when it is of a later
// version, [fault.TooLarge] when it is longer than [MaxBytes], [fault.Corrupt] when it is not an image job.
// None passes by itself.
func DecodeImage(value []byte) (Image, error) {
	const op = "decode image job"
	var w imageWire
	if err := decode(op, MaxBytes, value, &w); err != nil {
		return Image{}, err
	}
	i := Image{w.Submission, w.Lane, w.Attempt}
	if err := i.check(); err != nil {
		return Image{}, fault.New(fault.Corrupt, op, clip(i.Submission), err)
	}
	return i, nil
}

// Encode returns the value of the message. It refuses with [fault.Invalid] what [DecodeLayer] would.
func (l Layer) Encode() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, fault.New(fault.Invalid, "encode layer job", l.Digest.String(), err)
	}
	return encode("encode layer job", MaxBytes, layerWire{
		Version, l.Digest, l.MediaType, l.Size, l.Inflated, l.Prefix, l.Repositories, l.Lane, l.Attempt, l.Term,
	})
}

// DecodeLayer reads the value of a message. Errors are those of [DecodeImage].
func DecodeLayer(value []byte) (Layer, error) {
	const op = "decode layer job"
	var w layerWire
	if err := decode(op, MaxBytes, value, &w); err != nil {
		return Layer{}, err
	}
	l := Layer{w.Digest, w.MediaType, w.Size, w.Inflated, w.Prefix, w.Repositories, w.Lane, w.Attempt, w.Term}
	if err := l.check(); err != nil {
		return Layer{}, fault.New(fault.Corrupt, op, l.Digest.String(), err)
	}
	return l, nil
}

// Encode returns the value of the message. What is too long is cut and what is not UTF-8 replaced: a
// dead letter is the last that is heard of a job and must not itself be refused for what it quotes.
// It refuses with [fault.Invalid] an unknown Kind only.
func (d DeadLetter) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fault.New(fault.Invalid, "encode dead letter", clip(d.Subject), err)
	}
	return encode("encode dead letter", MaxDeadLetterBytes, deadLetterWire{
		Version, d.Kind, cut(d.Subject, maxSubjectBytes), cut(d.Reason, maxReasonBytes),
		cut(d.FaultKind, maxSubjectBytes), d.Attempts, Raw(d.Job), d.At.UTC(),
	})
}

// DecodeDeadLetter reads the value of a message. Errors are those of [DecodeImage], with [MaxDeadLetterBytes].
func DecodeDeadLetter(value []byte) (DeadLetter, error) {
	const op = "decode dead letter"
	var w deadLetterWire
	if err := decode(op, MaxDeadLetterBytes, value, &w); err != nil {
		return DeadLetter{}, err
	}
	d := DeadLetter{w.Kind, w.Subject, w.Reason, w.FaultKind, w.Attempts, w.Job, w.At.UTC()}
	if err := d.check(); err != nil {
		return DeadLetter{}, fault.New(fault.Corrupt, op, clip(d.Subject), err)
	}
	return d, nil
}

// Raw returns the value of a message as a dead letter quotes it: as it is where it is JSON of at most
// [MaxBytes], otherwise as {"unreadable":"…","bytes":n} with its first 4 KiB in base64 and its whole length.
func Raw(value []byte) json.RawMessage {
	if len(value) == 0 {
		return nil
	}
	if len(value) <= MaxBytes && json.Valid(value) {
		return value
	}
	quoted, err := json.Marshal(struct {
		Unreadable string `json:"unreadable"`
		Bytes      int    `json:"bytes"`
	}{base64.StdEncoding.EncodeToString(value[:min(len(value), maxQuoteBytes)]), len(value)})
	if err != nil {
		return nil // cannot happen: a string and a number
	}
	return quoted
}

func encode(op string, most int, wire any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(wire); err != nil {
		return nil, fault.New(fault.Invalid, op, "", err)
	}
	value := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(value) > most {
		return nil, fault.Newf(fault.TooLarge, op, "", "%d bytes: most are %d", len(value), most)
	}
	return value, nil
}

// decode reads the version first and alone: another version may use the other names otherwise.
func decode(op string, most int, value []byte, wire any) error {
	if len(value) > most {
		return fault.Newf(fault.TooLarge, op, "", "%d bytes: most are %d", len(value), most)
	}
	var version struct {
		V int64 `json:"v"`
	}
	if err := json.Unmarshal(value, &version); err != nil {
		return fault.New(fault.Corrupt, op, "", err)
	}
	switch {
	case version.V > Version:
		return fault.Newf(fault.Unsupported, op, "", "version %d: this program reads up to %d", version.V, Version)
	case version.V < 1:
		return fault.Newf(fault.Corrupt, op, "", "version %d: the first is 1", version.V)
	}
	if err := json.Unmarshal(value, wire); err != nil {
		return fault.New(fault.Corrupt, op, "", err)
	}
	return nil
}

// cut returns s as valid UTF-8 of at most most bytes.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// clip keeps a hostile string from filling an error message.
func clip(s string) string { return cut(s, 160) }
