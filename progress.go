package main

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"github.com/trawl-scanner/trawl/api"
)

// bars show a person how far long work is: one for each image and for each document of advisories. Where nobody
// watches they show nothing. They are safe for concurrent use.
type bars struct {
	app      *app
	mu       sync.Mutex
	writer   progress.Writer
	trackers map[string]*progress.Tracker
	stopped  bool
}

// messageLength is the width of what stands before a bar, in characters.
const messageLength = 48

// newBars returns bars on stderr. They appear with the first thing that takes longer than a moment.
func (a *app) newBars() *bars {
	b := &bars{app: a, trackers: make(map[string]*progress.Tracker)}
	if !a.interactive || a.quiet {
		return b
	}
	w := progress.NewWriter()
	w.SetOutputWriter(a.stderr)
	w.SetAutoStop(false)
	w.SetUpdateFrequency(100 * time.Millisecond)
	w.SetTrackerLength(30)
	w.SetMessageLength(messageLength)
	w.SetTrackerPosition(progress.PositionRight)
	w.SetStyle(progress.StyleBlocks)
	w.Style().Visibility.ETA = true
	w.Style().Visibility.Speed = true
	w.Style().Visibility.Percentage = true
	w.Style().Options.DoneString = "done"
	w.Style().Options.ErrorString = "failed"
	w.Style().Options.Separator = " "
	b.writer = w
	go w.Render()
	return b
}

// stop takes the bars away.
func (b *bars) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writer == nil || b.stopped {
		return
	}
	b.stopped = true
	for _, t := range b.trackers {
		t.MarkAsDone()
	}
	for b.writer.IsRenderInProgress() {
		b.writer.Stop()
		time.Sleep(time.Millisecond) //nolint:forbidigo // the library has no event for this
	}
	if len(b.trackers) > 0 {
		fmt.Fprintln(b.app.stderr)
	}
}

// say tells a person something, above the bars where there are any.
func (b *bars) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writer == nil || b.stopped {
		b.app.note(format, args...)
		return
	}
	b.writer.Log(format, args...)
}

// set shows how far the thing of that key is; total 0 or less is not known.
func (b *bars) set(key, message string, units progress.Units, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writer == nil || b.stopped {
		return
	}
	t := b.trackers[key]
	if t == nil {
		t = &progress.Tracker{Message: message, Total: max(total, 0), Units: units}
		b.trackers[key] = t
		b.writer.AppendTracker(t)
	}
	t.UpdateMessage(message)
	t.UpdateTotal(max(total, 0))
	t.SetValue(done)
	if total > 0 && done >= total {
		t.MarkAsDone()
	}
}

// submission shows how far the images of a submission are; title is what was asked for.
func (b *bars) submission(title string, s *api.Submission) {
	title = shorten(title, messageLength-12)
	switch s.State {
	case api.StateQueued:
		b.set(s.ID, title+": looking", progress.UnitsBytes, 0, 0)
		return
	case api.StateParked:
		b.set(s.ID, title+": waiting", progress.UnitsBytes, 0, 0)
		return
	case api.StateFailed:
		b.fail(s.ID, title)
		return
	}
	for i, image := range s.Images {
		key, message := s.ID, title
		if i > 0 {
			key += image.Digest.String()
		}
		if len(s.Images) > 1 {
			message += " " + strings.TrimPrefix(image.Platform, "linux/")
		}
		read, total := image.BytesRead, image.Bytes
		if total == 0 { // the manifest does not tell
			total = int64(image.Layers)
			read = total - int64(image.Pending)
		}
		if image.State != "pending" {
			read = total
		}
		b.set(key, message, progress.UnitsBytes, read, total)
	}
}

// fail shows that something will not be done.
func (b *bars) fail(key, message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.trackers[key]; t != nil && !b.stopped {
		t.UpdateMessage(message)
		t.MarkAsErrored()
	}
}

// feed shows how far a document of advisories is.
func (b *bars) feed(source, url string, read, total int64) {
	name := path.Base(path.Dir(url)) + "/" + path.Base(url)
	b.set(url, shorten(source+" advisories, "+name, messageLength), progress.UnitsBytes, read, total)
}

// shorten leaves the end of a text that is too long, which tells more of a path or reference than its start.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return "…" + string(r[len(r)-most+1:])
	}
	return s
}
