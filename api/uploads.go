package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// An uploaded archive is spooled to a file named by the submission's id. The API serves it as a repository
// of a read-only registry, uploads/ID, from which coordinator and workers read it as they read any other.
// It goes when the submission is done.
const uploadRepository = "uploads/"

// uploads knows the archives that were uploaded to this process. It is safe for concurrent use.
type uploads struct {
	dir    string
	limits limits.Limits

	mu     sync.Mutex
	opened map[string]*oci.Archive
}

// uploadInput reads the body as it comes. It implements [huma.Resolver], which is given the request.
type uploadInput struct {
	Name      string `query:"name" maxLength:"1024" doc:"What people call the archive; a file name"`
	Platforms string `query:"platforms" maxLength:"1024" doc:"Platforms to scan, separated by commas; all by default"`

	request *http.Request
	writer  http.ResponseWriter
}

// Resolve implements [huma.Resolver].
func (in *uploadInput) Resolve(ctx huma.Context) []error {
	in.request, in.writer = humago.Unwrap(ctx)
	return nil
}

func (a *API) upload(ctx context.Context, in *uploadInput) (*submissionOutput, error) {
	if a.config.UploadDir == "" {
		return nil, a.problem(ctx, fault.Newf(fault.Unsupported, "upload", in.Name, "this server takes no uploads"))
	}
	id, err := submissionID("")
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	var platforms []string
	if in.Platforms != "" {
		platforms = strings.Split(in.Platforms, ",")
	}
	for _, platform := range platforms {
		if _, err := oci.ParsePlatform(platform); err != nil {
			return nil, a.problem(ctx, err)
		}
	}
	if err := a.spool(ctx, id, in); err != nil {
		return nil, a.problem(ctx, fault.Wrap("upload", in.Name, err))
	}
	if _, err := a.uploads.open(ctx, id); err != nil {
		a.uploads.remove(id)
		return nil, a.problem(ctx, fault.Wrap("upload", in.Name, withoutPath(err, a.uploads.path(id))))
	}
	recorded, err := a.accept(ctx, store.Submission{
		ID: id, Target: a.config.UploadAddress + "/" + uploadRepository + id + ":latest",
		Title: cmp.Or(printable(in.Name), "upload "+id), Platforms: platforms, Lane: job.Now,
	})
	if err != nil {
		a.uploads.remove(id) // should it be recorded all the same, it fails: the client was told so
		return nil, a.problem(ctx, err)
	}
	return accepted(recorded), nil
}

// printable returns a name as it may be shown on a terminal. What may not is replaced by U+FFFD, so that it shows.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, name)
}

// withoutPath keeps the server's own file names from strangers. What is not found is missing in the archive, not here.
func withoutPath(err error, name string) error {
	kind := fault.KindOf(err)
	if kind == fault.NotFound {
		kind = fault.Corrupt
	}
	return fault.New(kind, "read", "archive", errors.New(strings.ReplaceAll(err.Error(), name, "it")))
}

// spool writes the body to the upload's file, whole or not at all.
func (a *API) spool(ctx context.Context, id string, in *uploadInput) (err error) {
	if err := limits.Check("size of the archive", "bytes", a.config.MaxUploadBytes, in.request.ContentLength); err != nil {
		return err
	}
	if err := os.MkdirAll(a.config.UploadDir, 0o700); err != nil {
		return fault.New(fault.Unavailable, "spool", "", err)
	}
	part := a.uploads.path(id) + ".part"
	file, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "spool", "", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	body := &uploadBody{
		r: io.LimitReader(in.request.Body, a.config.MaxUploadBytes+1), c: http.NewResponseController(in.writer), idle: a.config.UploadIdle,
	}
	n, err := io.Copy(file, body)
	err = errors.Join(err, file.Close())
	body.deadline(time.Time{}) // to look into a large archive may take longer
	var network interface{ Timeout() bool }
	switch {
	case errors.As(err, &network) && network.Timeout():
		return fault.Newf(fault.Invalid, "receive", "", "less than %d KiB came in %s, after %d bytes", uploadStep>>10, a.config.UploadIdle, n)
	case err != nil && (ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF)):
		return fault.New(fault.Invalid, "receive", "", err)
	case err != nil:
		return fault.New(fault.Unavailable, "spool", "", err)
	case n == 0:
		return fault.Newf(fault.Invalid, "receive", "", "the body is empty")
	}
	if err := limits.Check("size of the archive", "bytes", a.config.MaxUploadBytes, n); err != nil {
		return err
	}
	a.metrics.uploaded.Add(float64(n))
	return os.Rename(part, a.uploads.path(id))
}

// uploadStep is how much of an upload has to come in the time that is given.
const uploadStep = 64 << 10

// uploadBody gives each piece of the body, uploadStep long, the same time to come.
type uploadBody struct {
	r    io.Reader
	c    *http.ResponseController
	idle time.Duration
	left int // of the piece
}

func (b *uploadBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.left = uploadStep
		b.deadline(time.Now().Add(b.idle))
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

func (b *uploadBody) deadline(t time.Time) {
	_ = b.c.SetReadDeadline(t) // there is none where the request did not come over a connection
}

func (u *uploads) path(id string) string { return filepath.Join(u.dir, id) }

// find returns the archive of a repository, for [oci.Serve].
func (u *uploads) find(ctx context.Context, name string) (*oci.Archive, error) {
	id, ok := strings.CutPrefix(name, uploadRepository)
	if _, err := uuid.Parse(id); !ok || err != nil || strings.ToLower(id) != id {
		return nil, fault.Newf(fault.NotFound, "find repository", name, "only uploads are served here")
	}
	return u.open(ctx, id)
}

// open opens the archive of an upload, once.
func (u *uploads) open(ctx context.Context, id string) (*oci.Archive, error) {
	u.mu.Lock()
	archive := u.opened[id]
	u.mu.Unlock()
	if archive != nil {
		return archive, nil
	}
	target, err := oci.DetectPath(u.path(id))
	if err != nil {
		return nil, err
	}
	archive, err = oci.OpenArchive(ctx, target, u.limits)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.opened[id] = archive
	return archive, nil
}

func (u *uploads) remove(id string) {
	u.mu.Lock()
	delete(u.opened, id)
	u.mu.Unlock()
	_ = os.Remove(u.path(id))
}

// How often finished uploads are looked for, and how old an upload must be that no submission knows.
const (
	cleanInterval = 30 * time.Second
	orphanAge     = time.Hour
)

// clean removes the archives of submissions that are done, until ctx is done.
func (u *uploads) clean(ctx context.Context, s *store.Store, log *slog.Logger) error {
	ticker := time.NewTicker(cleanInterval)
	defer ticker.Stop()
	for {
		if err := u.cleanOnce(ctx, s); err != nil && ctx.Err() == nil {
			log.Warn("cannot clean up uploads, will try again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (u *uploads) cleanOnce(ctx context.Context, s *store.Store) error {
	entries, err := os.ReadDir(u.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // it went away meanwhile
		}
		id := entry.Name()
		old := time.Since(info.ModTime()) > orphanAge
		if strings.HasSuffix(id, ".part") {
			if old {
				_ = os.Remove(u.path(id))
			}
			continue
		}
		submission, err := s.Submission(ctx, id)
		switch {
		case err == nil && submission.Done(), fault.KindOf(err) == fault.NotFound && old:
			u.remove(id)
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return err
		}
	}
	return err
}
