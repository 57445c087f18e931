package oci

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// schema1 is a manifest as Docker before 1.10 made it (distribution, "Image Manifest Version 2,
// Schema 1"). One in a hundred tags of Docker Hub still has one.
type schema1 struct {
	signed   bool
	payload  []byte // what the registry's digest is of: the document without its signatures
	platform Platform
	created  time.Time
	layers   []digest.Digest // base first, without those that hold nothing
}

func (s *schema1) mediaType() types.MediaType {
	if s != nil && s.signed {
		return types.DockerManifestSchema1Signed
	}
	return types.DockerManifestSchema1
}

// parseSchema1 reads a schema 1 manifest, signed or not. Signatures are not verified: they were made
// with keys that nobody knows, and proved nothing. What is read is the payload, for nothing else is
// covered by the digest.
func parseSchema1(raw []byte) (*schema1, error) {
	var envelope struct {
		Signatures []jws `json:"signatures"`
	}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return nil, fault.New(fault.Corrupt, "parse manifest", "", jsonError(err, ""))
	}
	s := &schema1{payload: raw, signed: len(envelope.Signatures) > 0}
	if s.signed {
		var err error
		if s.payload, err = payload(raw, envelope.Signatures); err != nil {
			return nil, fault.New(fault.Corrupt, "parse manifest", "", err)
		}
	}
	if err := s.parsePayload(); err != nil {
		return nil, fault.New(fault.Corrupt, "parse manifest", "", err)
	}
	return s, nil
}

func (s *schema1) parsePayload() error {
	var wire struct {
		SchemaVersion int    `json:"schemaVersion"`
		Architecture  string `json:"architecture"`
		FSLayers      list[struct {
			BlobSum string `json:"blobSum"`
		}] `json:"fsLayers"`
		History list[struct {
			V1Compatibility string `json:"v1Compatibility"`
		}] `json:"history"`
	}
	if err := json.Unmarshal(s.payload, &wire); err != nil {
		return jsonError(err, "")
	}
	if n := len(wire.FSLayers); wire.SchemaVersion > 1 || n == 0 || n > maxLayers || n != len(wire.History) {
		return fmt.Errorf("schema 1 with %d layers and %d entries of history", n, len(wire.History))
	}
	s.platform.Architecture = wire.Architecture
	for i, l := range wire.FSLayers {
		d, err := digest.Parse(l.BlobSum)
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		step := parseHistory(wire.History[i].V1Compatibility)
		if i == 0 { // the topmost: it describes the image
			s.created = step.Created
			s.platform.OS = step.OS
		}
		if !step.Throwaway && !d.IsEmptyLayer() {
			s.layers = append(s.layers, d)
		}
	}
	slices.Reverse(s.layers)
	s.platform = s.platform.normal()
	return nil
}

// history is what is of interest in the configuration that schema 1 has for each layer.
type history struct {
	Created   time.Time
	OS        string
	Throwaway bool // the step changed no file
}

// parseHistory is lenient: of a configuration that cannot be read nothing is known, and its layer
// is one like any other.
func parseHistory(s string) history {
	var wire struct {
		Created   string `json:"created"`
		OS        string `json:"os"`
		Throwaway bool   `json:"throwaway"`
	}
	if json.Unmarshal([]byte(s), &wire) != nil {
		return history{}
	}
	return history{parseTime(wire.Created), wire.OS, wire.Throwaway}
}

// parseTime reads RFC 3339. It returns the zero time for anything else.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// jws is a signature in the form of libtrust's "pretty" JSON signatures: the payload is the document
// up to formatLength and then formatTail.
type jws struct {
	Protected string `json:"protected"`
}

// payload returns what was signed. All signatures must be of the same.
func payload(raw []byte, signatures []jws) ([]byte, error) {
	var signed []byte
	for i, s := range signatures {
		p, err := s.payload(raw)
		if err != nil {
			return nil, fmt.Errorf("signature %d: %w", i, err)
		}
		if i > 0 && !bytes.Equal(p, signed) {
			return nil, errors.New("the signatures are of different payloads")
		}
		signed = p
	}
	return signed, nil
}

func (s jws) payload(raw []byte) ([]byte, error) {
	header, err := base64url(s.Protected)
	if err != nil {
		return nil, errors.New("its protected header is not base64url")
	}
	var protected struct {
		FormatLength int    `json:"formatLength"`
		FormatTail   string `json:"formatTail"`
	}
	if err := json.Unmarshal(header, &protected); err != nil {
		return nil, errors.New("its protected header is not JSON")
	}
	tail, err := base64url(protected.FormatTail)
	if err != nil || protected.FormatLength < 0 || protected.FormatLength > len(raw) || len(tail) > len(raw) {
		return nil, errors.New("its protected header does not fit the document")
	}
	return append(append(make([]byte, 0, protected.FormatLength+len(tail)), raw[:protected.FormatLength]...), tail...), nil
}

func base64url(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}
