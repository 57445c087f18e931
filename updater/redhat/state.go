package redhat

import (
	"encoding/json"
	"strings"
	"time"
)

// stateFormat is the version of what documents are turned into. It is raised when the same documents come to
// other records; what was read in another format is read anew.
const stateFormat = 1

// state is how far the documents have been read. It is stored as JSON text of some hundred bytes; text that is not
// understood, or is of another format, is no state.
type state struct {
	Format  int       `json:"format"`
	Archive string    `json:"archive"` // file name of the archive that was read last
	Cursor  time.Time `json:"cursor"`  // changes up to and including this moment were read
	// Changes stands for the list of changes of which all were read; "" where some are left. See fetch.Document.
	Changes string `json:"changes,omitempty"`
}

// parseState reads a stored state. The zero state is that of somebody who has read nothing; known tells one
// whose records are still of use from one that is of another format, of which only the archive counts.
func parseState(text string) (s state, known bool) {
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return state{}, false
	}
	return s, s.Format == stateFormat && s.Archive != ""
}

func (s state) String() string {
	s.Format = stateFormat
	text, err := json.Marshal(s)
	if err != nil {
		return "" // a year beyond 9999: read anew
	}
	return string(text)
}

// Archives are named by the day they are of: "csaf_vex_2026-03-31.tar.zst".
const (
	archivePrefix = "csaf_vex_"
	archiveSuffix = ".tar.zst"
)

// archiveDay returns the day that an archive is of.
func archiveDay(file string) (time.Time, bool) {
	day, ok := strings.CutPrefix(file, archivePrefix)
	day, suffixed := strings.CutSuffix(day, archiveSuffix)
	at, err := time.Parse(time.DateOnly, day)
	return at, ok && suffixed && err == nil
}
