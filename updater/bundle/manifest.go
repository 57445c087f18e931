package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/version"
)

// ParseManifest reads a manifest, as an entry of a bundle or a file of its own. Errors are faults: Corrupt,
// Unsupported for another version of the format, TooLarge.
func ParseManifest(text []byte) (*Manifest, error) {
	if err := limits.Check("size of the manifest", "bytes", maxManifestBytes, int64(len(text))); err != nil {
		return nil, fault.Wrap("read", manifestName, err)
	}
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, corrupt(manifestName, "%w", err)
	}
	if head.Format != Format {
		return nil, fault.Newf(fault.Unsupported, "read", manifestName, "it is of format %.40q; this program reads %q", head.Format, Format)
	}
	m := new(Manifest)
	if err := strict(text, m); err != nil {
		return nil, corrupt(manifestName, "%w", err)
	}
	if err := m.check(); err != nil {
		return nil, corrupt(manifestName, "%w", err)
	}
	return m, nil
}

// strict decodes one JSON value that has no member that v does not know, and nothing behind it.
func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the value")
	}
	return nil
}

// check reports what does not fit together.
func (m *Manifest) check() error {
	if len(m.Sections) > maxSections {
		return fmt.Errorf("%d sections are more than %d", len(m.Sections), maxSections)
	}
	files, total := 0, int64(0)
	seen := make(map[string]bool)
	for _, s := range m.Sections {
		if seen[s.String()] {
			return fmt.Errorf("%.200s stands there twice", s)
		}
		seen[s.String()] = true
		if err := s.check(m.Base != nil); err != nil {
			return fmt.Errorf("%.200s: %w", s, err)
		}
		if s.File == "" {
			continue
		}
		if s.File != fileName(files) {
			return fmt.Errorf("%.200s: file %.40q: want %q", s, s.File, fileName(files))
		}
		files++
		if total += s.Bytes; total > maxInflatedBytes {
			return fmt.Errorf("the files have more than %d bytes", int64(maxInflatedBytes))
		}
	}
	return nil
}

// fileName is the name of a file of records. It has nothing of what is in it.
func fileName(n int) string { return fmt.Sprintf("feeds/%05d.ndjson", n) }

func (s Section) check(based bool) error {
	if s.Source == "" {
		return errors.New("no source")
	}
	switch s.Content {
	case Descriptions:
		if s.Feed != nil || s.File == "" {
			return errors.New("descriptions are of no feed, and have a file")
		}
	case Ranges, KnownExploited, Scores:
		if s.Feed == nil || s.Feed.URL == "" || s.Feed.Checked.IsZero() || s.Feed.Changed.IsZero() {
			return errors.New("no feed, or no time at which it was known")
		}
		for namespace, scheme := range s.Feed.Namespaces {
			if !slices.Contains(version.Schemes(), scheme) {
				return fmt.Errorf("namespace %.80q: scheme %.40q is not known here", namespace, scheme)
			}
		}
	default:
		return fmt.Errorf("content %.40q is not known", s.Content)
	}
	switch {
	case s.File != "" && (s.Base != nil || len(s.SHA256) == 0 || s.Bytes < 0 || s.Lines < 0 || s.Lines > s.Bytes):
		return errors.New("size, lines and checksum do not fit together")
	case s.File == "" && (s.Base == nil || !based || s.Bytes != 0 || s.Lines != 0 || len(s.SHA256) != 0):
		return errors.New("neither a file nor a base")
	}
	return nil
}
