package oci

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// imageConfig is what is of interest in the configuration of an image (image-spec v1.1, config.md). That
// of go-containerregistry is spoiled by any field that is not as it should be, such as a time.
type imageConfig struct {
	platform Platform
	created  time.Time
	diffIDs  []digest.Digest // of the layers, base first
}

func parseConfig(raw []byte) (imageConfig, error) {
	var wire struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
		OSVersion    string `json:"os.version"`
		Created      string `json:"created"`
		RootFS       struct {
			DiffIDs list[string] `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return imageConfig{}, fault.New(fault.Corrupt, "parse configuration", "", jsonError(err, ""))
	}
	p := Platform{OS: wire.OS, Architecture: wire.Architecture, Variant: wire.Variant, OSVersion: wire.OSVersion}
	c := imageConfig{platform: p.normal(), created: parseTime(wire.Created)}
	for i, s := range wire.RootFS.DiffIDs {
		d, err := digest.Parse(s)
		if err != nil {
			return imageConfig{}, fault.New(fault.Corrupt, "parse configuration", "", fmt.Errorf("diff ID %d: %w", i, err))
		}
		c.diffIDs = append(c.diffIDs, d)
	}
	return c, nil
}
