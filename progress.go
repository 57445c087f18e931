package main

import (
	"path"
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
	w.SetMessageLength(44)
	w.SetTrackerPosition(progress.PositionRight)
	w.SetStyle(progress.StyleBlocks)
	w.Style().Visibility.ETA = true
	w.Style().Visibility.Speed = true
	w.Style().Visibility.Percentage = true
	w.Style().Options.DoneString = "done"
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
	switch s.State {
	case api.StateQueued:
		b.set(s.ID, title+": asking the registry", progress.UnitsDefault, 0, 1)
		return
	case api.StateParked:
		b.set(s.ID, title+": waiting to try again", progress.UnitsDefault, 0, 1)
		return
	}
	b.set(s.ID, title, progress.UnitsDefault, 1, 1)
	for _, image := range s.Images {
		message := title
		if image.Platform != "" {
			message += " " + image.Platform
		}
		key := s.ID + image.Digest.String()
		if image.Bytes > 0 {
			done := image.BytesRead
			if image.State != "pending" {
				done = image.Bytes
			}
			b.set(key, message, progress.UnitsBytes, done, image.Bytes)
		} else {
			b.set(key, message, progress.UnitsDefault, int64(image.Layers-image.Pending), int64(image.Layers))
		}
	}
}

// feed shows how far a document of advisories is.
func (b *bars) feed(source, url string, read, total int64) {
	b.set(url, source+" "+path.Base(path.Dir(url))+"/"+path.Base(url), progress.UnitsBytes, read, total)
}
