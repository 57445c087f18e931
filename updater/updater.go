// Package updater keeps what is known about vulnerabilities up to date: it gets the documents of the
// sources when they changed, and applies the difference.
//
// It decides when, and reports how it went; how a document is got is package fetch, what is in it the
// packages named after the sources, and what a difference does package store.
//
// # Guarantees
//
// A document is applied whole or not at all, in one transaction with its effect. A document that could
// not be read leaves what was read before in force, and the failure visible: in the source's state, in
// the metrics, and in the coverage of every report that rests on it. A source does not advance by failing.
// Each source is run by one process at a time.
package updater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater/fetch"
)

// ErrBusy is wrapped by the error of a [Locker] when another process runs the source.
var ErrBusy = errors.New("another process is updating it")

// A Locker takes the cluster-wide lock of a source, without waiting, until the returned function is
// called or ctx is done. When the lock is lost on the way, the ctx that it returns is canceled.
type Locker func(ctx context.Context, source string) (context.Context, func(), error)

// Config says what to keep up to date, and with what.
type Config struct {
	Store *store.Store
	Fetch *fetch.Fetcher
	// Lock makes runs exclusive. Nil means that there is no other process.
	Lock Locker
	// Sources are the names of the sources to run; none means all.
	Sources []string
	// Cadence is how often each source is looked at. Zero means as each source suggests.
	Cadence time.Duration
	// Logger gets what goes on. Nil means nobody does.
	Logger *slog.Logger
	// Metrics gets the metrics. Nil means nobody does.
	Metrics prometheus.Registerer
}

// Updater runs sources. It is safe for concurrent use.
type Updater struct {
	config  Config
	sources []source
	metrics *metrics
	log     *slog.Logger
}

// New checks the configuration. It connects nothing.
func New(config Config) (*Updater, error) {
	chosen, err := find(config.Sources)
	if err != nil {
		return nil, fault.New(fault.Invalid, "choose sources", "", err)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Lock == nil {
		config.Lock = func(ctx context.Context, _ string) (context.Context, func(), error) { return ctx, func() {}, nil }
	}
	return &Updater{config: config, sources: chosen, metrics: newMetrics(config.Metrics), log: config.Logger}, nil
}

// How often Run looks for sources that are due, and the bounds of the pause after a failure.
const (
	lookInterval = 2 * time.Second
	minBackoff   = time.Minute
	maxBackoff   = time.Hour
)

// Run keeps all sources up to date until ctx is done, and returns nil then. A source is due when its
// cadence has passed since its last run, in whichever process that was, or when somebody asked for it.
func (u *Updater) Run(ctx context.Context) error {
	if err := u.register(ctx, u.sources); err != nil {
		return err
	}
	failures := make(map[string]int)
	retry := make(map[string]time.Time)
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		statuses, err := u.config.Store.SourceStatuses(ctx)
		if err != nil && ctx.Err() == nil {
			u.log.Warn("cannot read the state of the sources", "error", err)
		}
		for _, status := range statuses {
			s, ok := u.source(status.Name)
			if !ok || ctx.Err() != nil || !u.due(s, status, retry[s.Name]) {
				continue
			}
			outcome := u.run(ctx, s, Options{})
			if outcome.Err == nil {
				delete(failures, s.Name)
				delete(retry, s.Name)
				continue
			}
			failures[s.Name]++
			pause := min(maxBackoff, minBackoff<<min(failures[s.Name]-1, 10))
			if errors.Is(outcome.Err, ErrBusy) {
				pause = minBackoff / 2
			}
			pause += time.Duration(rand.Int64N(int64(pause) / 4))
			retry[s.Name] = time.Now().Add(max(pause, fault.AfterOf(outcome.Err)))
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return nil
}

// register makes the sources known, waiting for a database that is not there yet.
func (u *Updater) register(ctx context.Context, list []source) error {
	for {
		err := u.config.Store.RegisterSources(ctx, describe(list))
		if err == nil || ctx.Err() != nil || !fault.Retryable(err) {
			return err
		}
		u.log.Warn("cannot register the sources, will try again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookInterval):
		}
	}
}

func (u *Updater) source(name string) (source, bool) {
	for _, s := range u.sources {
		if s.Name == name {
			return s, true
		}
	}
	return source{}, false
}

func (u *Updater) due(s source, status store.SourceStatus, retry time.Time) bool {
	if !status.Requested.IsZero() {
		return true
	}
	if !retry.IsZero() {
		return time.Now().After(retry)
	}
	cadence := s.Cadence
	if u.config.Cadence > 0 {
		cadence = u.config.Cadence
	}
	if status.Error != "" { // of a run of another process, or of one before this
		cadence = min(cadence, maxBackoff)
	}
	return time.Since(status.RunAt) >= cadence
}

// Options narrows a run.
type Options struct {
	// Namespaces limits the run to documents that speak for one of these. None means all.
	Namespaces []string
	// MaxAge leaves alone documents that were looked at less than this long ago. Zero means none.
	MaxAge time.Duration
	// AcceptShrink applies documents however much smaller they are than before.
	AcceptShrink bool
	// Progress is told how far the document under way is, in bytes; total is -1 where it is not known.
	Progress func(source, url string, read, total int64)
}

// Outcome is how one run of one source went.
type Outcome struct {
	Source    string
	Documents int // looked at
	Unchanged int // of them, because upstream has nothing new
	Fresh     int // not looked at, because they were a short while ago
	Delta     store.Delta
	Duration  time.Duration
	Err       error // of all documents that could not be read
}

// Found reports whether upstream, or the mirror, has anything of the source.
func (o Outcome) Found() bool { return o.Documents+o.Fresh > 0 }

// Update runs the sources of these names once, all for none. It returns an outcome for each that has
// something to do with the options, and an error when it could not begin.
func (u *Updater) Update(ctx context.Context, names []string, options Options) ([]Outcome, error) {
	chosen := u.sources
	if len(names) > 0 {
		var err error
		if chosen, err = find(names); err != nil {
			return nil, fault.New(fault.Invalid, "choose sources", "", err)
		}
	}
	if err := u.register(ctx, chosen); err != nil {
		return nil, err
	}
	var out []Outcome
	for _, s := range chosen {
		if len(options.Namespaces) > 0 && !s.covers(options.Namespaces) {
			continue
		}
		out = append(out, u.run(ctx, s, options))
		if ctx.Err() != nil {
			return out, fault.Wrap("update", s.Name, context.Cause(ctx))
		}
	}
	return out, nil
}

// run runs one source, holding its lock.
func (u *Updater) run(ctx context.Context, s source, options Options) Outcome {
	started := time.Now()
	out := Outcome{Source: s.Name}
	locked, unlock, err := u.config.Lock(ctx, s.Name)
	var began time.Time
	if err == nil {
		defer unlock()
		began, err = u.config.Store.BeginRun(locked)
	}
	if err == nil {
		err = u.runFeeds(locked, s, options, &out)
		if cause := context.Cause(locked); err == nil && cause != nil {
			err = cause
		}
		if ctx.Err() != nil {
			began = time.Time{} // it was told to stop, and is to be made up for
		}
		// Also when ctx is done: the failure is to be seen.
		noted, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		err = errors.Join(err, u.config.Store.EndRun(noted, s.Name, began, err))
		cancel()
	}
	out.Err = err
	out.Duration = time.Since(started)
	u.metrics.ran(out)
	if err != nil {
		u.log.Warn("update failed", "source", s.Name, "error", err, "duration", out.Duration)
	} else {
		u.log.Info("updated", "source", s.Name, "documents", out.Documents, "unchanged", out.Unchanged,
			"ranges_added", out.Delta.Added, "ranges_removed", out.Delta.Removed, "findings", out.Delta.Findings,
			"bad_records", out.Delta.Bad, "duration", out.Duration)
	}
	return out
}

// runFeeds goes through the documents of a source; one that fails does not stop the others.
func (u *Updater) runFeeds(ctx context.Context, s source, options Options, out *Outcome) error {
	known, err := u.config.Store.Feeds(ctx, s.Name)
	if err != nil {
		return err
	}
	feeds, err := s.feeds(ctx, u.config.Fetch.Exists)
	failed := []error{err}
	for _, f := range feeds {
		if ctx.Err() != nil {
			break
		}
		if len(options.Namespaces) > 0 && !f.speaksFor(options.Namespaces) {
			continue
		}
		before := known[f.url]
		if before.State == store.FeedCurrent && time.Since(before.Checked) < options.MaxAge {
			out.Fresh++
			continue
		}
		run := u.runFeed
		if f.next != nil {
			run = u.runSteps
		}
		err := run(ctx, s, f, before, options, out)
		if err == nil || (f.optional && before.Changed.IsZero() && fault.KindOf(err) == fault.NotFound) {
			continue
		}
		failed = append(failed, err, u.config.Store.FeedFailed(context.WithoutCancel(ctx), s.Name, f.url, err))
	}
	return errors.Join(failed...)
}

// runFeed brings one document up to date.
func (u *Updater) runFeed(ctx context.Context, s source, f feed, before store.Feed, options Options, out *Outcome) error {
	progress := options.progress(s, f.url)
	validator, parser := before.Validator, fmt.Sprintf("parser %d", s.parser)
	if before.State == store.FeedHeld || before.Cursor != parser {
		// What was held back may be accepted now, and what another parser has read may mean something else.
		validator = ""
	}
	document, err := u.config.Fetch.Get(ctx, f.url, validator, progress)
	if err != nil {
		return err
	}
	defer document.Close()
	out.Documents++
	if document.Unchanged {
		out.Unchanged++
		return u.config.Store.FeedUnchanged(ctx, f.url, document.Validator, before.Cursor)
	}
	delta, err := u.apply(ctx, s, f, document, parser, options)
	if err != nil {
		return fmt.Errorf("%s: %w", f.url, err)
	}
	if delta.Unchanged {
		out.Unchanged++
		return u.config.Store.FeedUnchanged(ctx, f.url, document.Validator, parser)
	}
	add(&out.Delta, delta)
	return nil
}

// apply reads a document and applies what it says.
func (u *Updater) apply(ctx context.Context, s source, f feed, document *fetch.Document, parser string, options Options) (store.Delta, error) {
	open := func() (io.ReadCloser, error) { return document.Open(options.progress(s, f.url)) }
	content := store.FeedContent{
		Source: s.Name, URL: f.url, Validator: document.Validator, Checksum: document.Checksum, SizeBytes: document.SizeBytes,
		Namespaces: f.namespaces, Cursor: parser, AcceptShrink: options.AcceptShrink,
	}
	switch {
	case f.once != nil:
		content.Records = readOnce(open, f.once)
	case f.several != nil:
		content.Records = f.several(open)
	case f.zip != nil:
		file, err := os.Open(document.Path())
		if err != nil {
			return store.Delta{}, fault.New(fault.Unavailable, "open", document.Path(), err)
		}
		defer file.Close()
		content.Records = f.zip(file, document.SizeBytes)
	case f.exploit != nil:
		r, err := open()
		if err != nil {
			return store.Delta{}, err
		}
		defer r.Close()
		return u.config.Store.ApplyExploitation(ctx, store.ExploitationContent{
			Source: s.Name, URL: f.url, Validator: document.Validator, Checksum: document.Checksum, SizeBytes: document.SizeBytes,
			Cursor: parser, Records: f.exploit(r),
		})
	}
	return u.config.Store.ApplyFeed(ctx, content)
}

// runSteps brings a feed up to date that is read by a protocol of its own.
func (u *Updater) runSteps(ctx context.Context, s source, f feed, before store.Feed, options Options, out *Outcome) error {
	parser := fmt.Sprintf("parser %d ", s.parser)
	cursor, same := strings.CutPrefix(before.Cursor, parser)
	if !same || before.State == store.FeedHeld {
		cursor = ""
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, cursor, err = u.takeStep(ctx, s, f, parser, cursor, options, out); err != nil {
			return err
		}
	}
	return nil
}

// takeStep takes one step and returns the cursor behind it.
func (u *Updater) takeStep(ctx context.Context, s source, f feed, parser, cursor string, options Options, out *Outcome) (more bool, _ string, err error) {
	next, err := f.next(ctx, u.config.Fetch, cursor, options.progress(s, f.url))
	if err != nil {
		return false, cursor, err
	}
	defer func() { err = errors.Join(err, next.close()) }()
	out.Documents++
	if next.records == nil {
		out.Unchanged++
		return next.more, next.cursor, u.config.Store.FeedUnchanged(ctx, f.url, "", parser+next.cursor)
	}
	delta, err := u.config.Store.ApplyFeed(ctx, store.FeedContent{
		Source: s.Name, URL: f.url, Namespaces: f.namespaces, Records: next.records, Partial: !next.whole,
		Cursor: parser + next.cursor, AcceptShrink: options.AcceptShrink,
	})
	if err != nil {
		return false, cursor, fmt.Errorf("%s: %w", f.url, err)
	}
	add(&out.Delta, delta)
	return next.more, next.cursor, nil
}

// progress returns what to call with how far a document is.
func (o Options) progress(s source, url string) func(read, total int64) {
	return func(read, total int64) {
		if o.Progress != nil {
			o.Progress(s.Name, url, read, total)
		}
	}
}

// add sums what the documents of a source changed.
func add(sum *store.Delta, d store.Delta) {
	sum.Records += d.Records
	sum.Ranges += d.Ranges
	sum.Added += d.Added
	sum.Removed += d.Removed
	sum.Changed += d.Changed
	sum.Findings += d.Findings
	sum.Withdrawn += d.Withdrawn
	sum.Bad += d.Bad
	sum.BadNamed = append(sum.BadNamed, d.BadNamed...)
}
