// Package bundle provides a file that carries what was read of advisory sources to where there is no network: one
// archive with a signed manifest, and the records of each feed.
//
// It writes and reads such files. It knows neither where the records come from nor where they go.
//
// # Format
//
// A tar file, compressed with zstd (RFC 8878), of any number of frames: "tar --zstd -tf FILE" lists it. Its entries, in
// this order and no others:
//
//   - manifest.json, a [Manifest] as JSON (RFC 8259), in UTF-8.
//   - manifest.sig, where the bundle is signed: the Ed25519 signature (RFC 8032) of the bytes of manifest.json, 64 bytes.
//     "openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in manifest.json -sigfile manifest.sig" checks it.
//   - for each section of the manifest that has a file, that file: an object of JSON on each line.
//
// The manifest has the size, the number of lines and the SHA-256 of each file, so its signature covers all.
//
// The version of the format stands in the manifest. A reader refuses a version that it does not know, and members that
// it does not know: what is added raises the version.
//
// # Hostile files
//
// A [Reader] holds one line at a time, of at most 16 MiB, and the manifest, of at most 32 MiB. It never makes a file, and
// takes no name from an archive: an entry whose name is not the one that the manifest has next is an error. What an
// archive inflates to is bounded, by number and in relation to its size.
package bundle

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// Format is the version of the format that this package writes and reads.
const Format = "trawl-feeds/1"

// The names of the first entries.
const (
	manifestName  = "manifest.json"
	signatureName = "manifest.sig"
)

// Manifest says what is in a bundle.
type Manifest struct {
	Format  string    `json:"format"`
	Created time.Time `json:"created"`
	Program string    `json:"program"` // that made it: "trawl/1.2"
	// Base is what the bundle stands on, where it leaves out feeds that did not change since.
	Base     *Base     `json:"base,omitempty"`
	Sections []Section `json:"sections"`
}

// Base names another bundle.
type Base struct {
	Created time.Time `json:"created"`
	SHA256  Sum       `json:"sha256"` // of its manifest.json
}

// Content says what a section is made of.
type Content string

// The contents of sections.
const (
	Ranges         Content = "ranges"          // advisories with the ranges that a feed lists
	Descriptions   Content = "descriptions"    // advisories of a source of which no feed lists a range
	KnownExploited Content = "known-exploited" // a catalog of vulnerabilities that are being exploited
	Scores         Content = "scores"          // how probable the exploitation of vulnerabilities is
)

// Section is one feed, or the descriptions of a source.
type Section struct {
	Content Content `json:"content"`
	Source  string  `json:"source"`
	Feed    *Feed   `json:"feed,omitempty"` // nil for descriptions
	// File is the entry with the records. "" says that the feed is as in the base; then the rest is zero.
	File   string `json:"file,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	Lines  int64  `json:"lines,omitempty"`
	SHA256 Sum    `json:"sha256,omitempty"`
	// Base is the version of the feed in the base, where there is no file.
	Base *Version `json:"base,omitempty"`
}

// String names the section in errors.
func (s Section) String() string {
	if s.Feed == nil {
		return fmt.Sprintf("%s of %s", s.Content, s.Source)
	}
	return s.Feed.URL
}

// Version tells one state of a feed from another.
type Version struct {
	Checksum Sum    `json:"checksum,omitempty"` // of the document, where the feed is one
	Cursor   string `json:"cursor,omitempty"`   // how far it was read
}

// Feed is a feed as whoever made the bundle had it.
type Feed struct {
	URL       string    `json:"url"`
	Version   Version   `json:"version"`
	SizeBytes int64     `json:"sizeBytes"`
	Checked   time.Time `json:"checked"` // upstream was last known to say this
	Changed   time.Time `json:"changed"` // it last changed for whoever made the bundle
	Records   int       `json:"records"`
	Ranges    int       `json:"ranges"`
	Bad       int       `json:"bad"` // records that could not be used
	// BadRecords are the first of them.
	BadRecords []advisory.BadRecord `json:"badRecords,omitempty"`
	// Namespaces are those that it speaks for, with the scheme of their versions.
	Namespaces map[string]version.Scheme `json:"namespaces,omitempty"`
	// Held says that a newer document was held back, and Error why, or why the newer one could not be read.
	Held  bool   `json:"held,omitempty"`
	Error string `json:"error,omitempty"`
}

// Sum is a SHA-256, in JSON as hexadecimal digits.
type Sum []byte

// MarshalText implements [encoding.TextMarshaler].
func (s Sum) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s)), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Sum) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err == nil && len(b) != 32 && len(b) != 0 {
		err = fmt.Errorf("%d bytes are no SHA-256", len(b))
	}
	*s = b
	return err
}

// Limits of a reader.
const (
	maxManifestBytes = 32 << 20
	maxLineBytes     = 16 << 20
	maxSections      = 20_000
	maxInflatedBytes = 256 << 30
	maxRatio         = 400
)

// corrupt returns the error of a bundle that breaks its format.
func corrupt(subject, format string, args ...any) error {
	return fault.Newf(fault.Corrupt, "read", subject, format, args...)
}
