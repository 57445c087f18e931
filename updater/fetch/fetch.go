// Package fetch gets the documents of advisory sources, from upstream or from a mirror, only when
// they changed.
//
// It knows nothing of what is in them; it does know how they are compressed.
//
// # Mirrors
//
// A mirror holds a document of https://HOST/PATH at HOST/PATH below its root, or under the same name
// with ".gz" or ".zst" behind it where upstream serves it plain. The root is a directory or an HTTP(S)
// address.
//
// # Limits
//
// A document is spooled to a file while its checksum is taken, and read from there as a stream: memory
// does not depend on its size. The spool is removed by [Document.Close].
package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
)

// Config says where documents come from.
type Config struct {
	// Mirror is a directory, or an http or https address; "" means upstream.
	Mirror string
	// SpoolDir is where documents are kept while they are read. "" means [os.TempDir].
	SpoolDir string
	// UserAgent names the program to upstream. "" means "trawl".
	UserAgent string
	// MaxBytes bounds a document as transferred. Zero means 8 GiB.
	MaxBytes int64
	// MaxInflatedBytes bounds what a document inflates to. Zero means 128 GiB.
	MaxInflatedBytes int64
	// IdleTimeout is how long a transfer may stand still. Zero means one minute.
	IdleTimeout time.Duration
	// Transport makes the requests. Nil means [http.DefaultTransport], which honors HTTPS_PROXY.
	Transport http.RoundTripper
}

// Fetcher gets documents. It is safe for concurrent use.
type Fetcher struct {
	config Config
	client *http.Client
}

// New returns a Fetcher.
func New(config Config) *Fetcher {
	if config.MaxBytes == 0 {
		config.MaxBytes = 8 << 30
	}
	if config.MaxInflatedBytes == 0 {
		config.MaxInflatedBytes = 128 << 30
	}
	if config.IdleTimeout == 0 {
		config.IdleTimeout = time.Minute
	}
	if config.UserAgent == "" {
		config.UserAgent = "trawl"
	}
	return &Fetcher{config: config, client: &http.Client{Transport: config.Transport}}
}

// Get returns the document, or Unchanged when it still is what validator stood for; "" stands for
// nothing. The caller closes it. A document that upstream does not have is a fault of kind NotFound.
func (f *Fetcher) Get(ctx context.Context, address, validator string, progress func(read, total int64)) (*Document, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	places, err := f.places(address)
	if err != nil {
		return nil, err
	}
	for _, place := range places {
		var document *Document
		if place.file != "" {
			document, err = f.open(place.file, validator)
		} else {
			document, err = f.download(ctx, place.url, validator, progress)
		}
		if err == nil {
			document.URL, document.Suffix, document.maxInflated = address, place.suffix, f.config.MaxInflatedBytes
			return document, nil
		}
		if fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
	}
	return nil, err
}

// Exists reports whether upstream, or the mirror, has the document.
func (f *Fetcher) Exists(ctx context.Context, address string) (bool, error) {
	places, err := f.places(address)
	if err != nil {
		return false, err
	}
	for _, place := range places {
		if place.file != "" {
			_, err = os.Stat(place.file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err == nil, err
		}
		response, err := f.request(ctx, http.MethodHead, place.url, "")
		if err == nil {
			_ = response.Body.Close()
			return true, nil
		}
		if fault.KindOf(err) != fault.NotFound {
			return false, err
		}
	}
	return false, nil
}

// place is where a document may be: a file or an address, and the suffix that was put behind its name.
type place struct{ file, url, suffix string }

// Suffixes are what may stand behind the name of a document in a mirror, in the order in which they are tried.
var Suffixes = []string{"", ".gz", ".zst"}

// Place returns where a mirror has the document of an address, below its root, with slashes.
func Place(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Host == "." || u.Host == ".." || strings.ContainsAny(u.Host, "/\\") {
		return "", fault.Newf(fault.Invalid, "fetch", address, "not an address")
	}
	return u.Host + path.Join("/", u.Path), nil
}

func (f *Fetcher) places(address string) ([]place, error) {
	rooted, err := Place(address)
	if err != nil {
		return nil, err
	}
	if f.config.Mirror == "" {
		return []place{{url: address}}, nil
	}
	var out []place
	for _, suffix := range Suffixes {
		if strings.HasPrefix(f.config.Mirror, "http://") || strings.HasPrefix(f.config.Mirror, "https://") {
			out = append(out, place{url: strings.TrimSuffix(f.config.Mirror, "/") + "/" + rooted + suffix, suffix: suffix})
		} else {
			out = append(out, place{file: filepath.Join(f.config.Mirror, filepath.FromSlash(rooted)+suffix), suffix: suffix})
		}
	}
	return out, nil
}

// open uses a file of a mirror in place.
func (f *Fetcher) open(name, validator string) (*Document, error) {
	file, err := os.Open(name)
	if err != nil {
		kind := fault.Unavailable
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.NotFound
		}
		return nil, fault.New(kind, "read mirror", name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read mirror", name, err)
	}
	if info.IsDir() {
		return nil, fault.Newf(fault.NotFound, "read mirror", name, "it is a directory")
	}
	now := fmt.Sprintf("file %s %d %d", name, info.Size(), info.ModTime().UnixNano())
	if now == validator {
		return &Document{Validator: now, Unchanged: true}, nil
	}
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read mirror", name, err)
	}
	return &Document{Validator: now, Checksum: sum.Sum(nil), SizeBytes: n, name: name}, nil
}

// download spools a document that is not on this machine.
func (f *Fetcher) download(ctx context.Context, address, validator string, progress func(read, total int64)) (_ *Document, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := f.request(ctx, http.MethodGet, address, validator) //nolint:bodyclose // closed three lines below
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	now := validatorOf(response.Header)
	if response.StatusCode == http.StatusNotModified {
		if now == "" {
			now = validator
		}
		return &Document{Validator: now, Unchanged: true}, nil
	}
	// Where the server tells the size, what is too large is not begun.
	if err := limits.Check("size of the document", "bytes", f.config.MaxBytes, response.ContentLength); err != nil {
		return nil, fault.Wrap("fetch", address, err)
	}
	file, err := os.CreateTemp(f.config.SpoolDir, "trawl-feed-*")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "spool", address, err)
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	idle := time.AfterFunc(f.config.IdleTimeout, func() {
		cancel(fault.Newf(fault.Unavailable, "fetch", address, "nothing came for %s", f.config.IdleTimeout))
	})
	defer idle.Stop()
	sum := sha256.New()
	body := &meter{r: response.Body, tick: func(n int64) {
		idle.Reset(f.config.IdleTimeout)
		progress(n, response.ContentLength)
	}}
	n, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(body, f.config.MaxBytes+1))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fault.New(fault.Unavailable, "fetch", address, fmt.Errorf("after %d bytes: %w", n, err))
	}
	if err := limits.Check("size of the document", "bytes", f.config.MaxBytes, n); err != nil {
		return nil, fault.Wrap("fetch", address, err)
	}
	return &Document{Validator: now, Checksum: sum.Sum(nil), SizeBytes: n, name: file.Name(), spool: true}, nil
}

// meter counts what passes.
type meter struct {
	r    io.Reader
	n    int64
	tick func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.tick(m.n)
	return n, err
}

// request returns a response that is good, or a 304 to a validator.
func (f *Fetcher) request(ctx context.Context, method, address, validator string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, fault.New(fault.Invalid, "fetch", address, err)
	}
	request.Header.Set("User-Agent", f.config.UserAgent)
	// The checksum is of the document, not of what a server makes of it in transit.
	request.Header.Set("Accept-Encoding", "identity")
	if kind, value, ok := strings.Cut(validator, " "); ok {
		switch kind {
		case "etag":
			request.Header.Set("If-None-Match", value)
		case "modified":
			request.Header.Set("If-Modified-Since", value)
		}
	}
	response, err := f.client.Do(request)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fault.New(fault.Unavailable, "fetch", address, err)
	}
	if response.StatusCode == http.StatusOK || (response.StatusCode == http.StatusNotModified && validator != "") {
		return response, nil
	}
	defer response.Body.Close()
	e := fault.Newf(fault.Unavailable, "fetch", address, "the server answers %s", response.Status)
	switch response.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		e.Kind = fault.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Kind = fault.Unauthorized
	case http.StatusTooManyRequests:
		e.Kind = fault.RateLimited
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.After = time.Duration(seconds) * time.Second
	}
	return nil, e
}

// validatorOf returns what to send with the next conditional request.
func validatorOf(header http.Header) string {
	if etag := header.Get("ETag"); etag != "" {
		return "etag " + etag
	}
	if modified := header.Get("Last-Modified"); modified != "" {
		return "modified " + modified
	}
	return ""
}

// hasPrefix reports the magic number of a compressed document.
func hasPrefix(head []byte, magic ...byte) bool { return bytes.HasPrefix(head, magic) }
